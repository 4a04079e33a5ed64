"""What the launcher is told, and the files it makes of it before OBS starts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsd.programs.obs_launch.ini import merged

PLACEHOLDER = "@password@"
"""Stands in the launch document for the websocket's password, which is in a file of its own."""


@dataclass(frozen=True, slots=True)
class Launch:
    """The launch document. `ini`: file to section to key to value, set within what is there; `json`: file to keys,
    likewise; `once`: files written only where there are none. Paths are relative to `config`. `complaint`: a file that
    is there when OBS hangs. `port`: of the websocket."""

    argv: tuple[str, ...]
    config: Path
    password_file: Path
    ini: dict[str, dict[str, dict[str, str]]]
    json: dict[str, dict[str, Any]]
    once: dict[str, str]
    complaint: Path
    port: int

    @classmethod
    def read(cls, path: Path, *more: Path) -> Launch:
        """The document, and others with more `ini`. ValueError, KeyError, TypeError for one that is none."""
        data = json.loads(path.read_text())
        ini: dict[str, dict[str, dict[str, str]]] = data["ini"]
        for other in more:
            for name, sections in json.loads(other.read_text())["ini"].items():
                for section, keys in sections.items():
                    ini.setdefault(name, {}).setdefault(section, {}).update(keys)
        return cls(
            argv=tuple(data["argv"]),
            config=Path(data["config"]),
            password_file=Path(data["password_file"]),
            ini=ini,
            json=data["json"],
            once=data["once"],
            complaint=Path(data["complaint"]),
            port=int(data["port"]),
        )


def prepare(launch: Launch) -> None:
    """Bring the files to what is declared, each 0600. OSError when they cannot be written."""
    launch.complaint.unlink(missing_ok=True)  # it was about an OBS that has ended
    password = launch.password_file.read_text().strip()
    for name, sections in launch.ini.items():
        path = launch.config / name
        wanted = {
            section: {key: value.replace(PLACEHOLDER, password) for key, value in keys.items()}
            for section, keys in sections.items()
        }
        _write(path, merged(_text(path), wanted))
    for name, keys in launch.json.items():
        path = launch.config / name
        try:
            found = json.loads(_text(path) or "{}")
        except ValueError:
            found = {}
        values = {key: password if value == PLACEHOLDER else value for key, value in keys.items()}
        _write(path, json.dumps((found if isinstance(found, dict) else {}) | values, indent=4))
    for name, content in launch.once.items():
        if not (launch.config / name).exists():
            _write(launch.config / name, content)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(content)
    os.replace(part, path)
