"""Where things are: profile, state, sockets. Standard library only: every command of the CLI starts with it.

Each path: the option, else the environment, else the platform's default (root: /etc, /var/lib, /run; others: XDG).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`profile`: a file, or a directory whose *.yaml are read in name order. `config`: the daemon's own settings."""

    profile: Path
    state_dir: Path
    run_dir: Path
    config: Path

    @classmethod
    def resolve(
        cls,
        *,
        profile: str | None = None,
        state_dir: str | None = None,
        run_dir: str | None = None,
        config: str | None = None,
    ) -> Settings:
        """Options first, then STREAMSD_* of the environment, then the platform's defaults."""
        root = os.geteuid() == 0
        home = Path.home()
        etc = Path("/etc/streamsd") if root else _xdg("XDG_CONFIG_HOME", home / ".config") / "streamsd"
        var = Path("/var/lib/streamsd") if root else _xdg("XDG_STATE_HOME", home / ".local/state") / "streamsd"

        def pick(option: str | None, variable: str, default: Path) -> Path:
            return Path(option or os.environ.get(variable) or default).expanduser().absolute()

        return cls(
            profile=pick(profile, "STREAMSD_PROFILE", etc / "profile.yaml"),
            state_dir=pick(state_dir, "STREAMSD_STATE_DIR", var),
            run_dir=pick(run_dir, "STREAMSD_RUN_DIR", _default_run_dir(root)),
            config=pick(config, "STREAMSD_CONFIG", etc / "streamsd.yaml"),
        )

    @property
    def api_socket(self) -> Path:
        """Where the daemon listens."""
        return self.run_dir / "api.sock"

    @property
    def pid_file(self) -> Path:
        return self.run_dir / "streamsd.pid"

    @property
    def log_dir(self) -> Path:
        """One file a process: `Kind.name.role.log`."""
        return self.state_dir / "logs"

    @property
    def instance(self) -> str:
        """Tells this daemon's processes from another's: they carry it as STREAMSD_INSTANCE."""
        return hashlib.blake2b(str(self.run_dir).encode(), digest_size=6).hexdigest()


def _xdg(variable: str, default: Path) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else default


def _default_run_dir(root: bool) -> Path:
    if root:
        return Path("/run/streamsd")
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/"):
        return Path(given) / "streamsd"
    return Path(tempfile.gettempdir()) / f"streamsd-{os.getuid()}"
