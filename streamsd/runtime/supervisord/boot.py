"""Starting supervisord: as a daemon in a session of its own, with an empty environment, on unix sockets only.

It outlives whoever started it. Its paths go through `/proc/self/fd/N` of a descriptor it inherits: a socket's path
may hold 107 bytes only, and an ini file has its own ideas about `%` and `;`.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamsd.core.runtime import RuntimeFault
from streamsd.core.settings import Settings
from streamsd.runtime.files import make_passable, make_private
from streamsd.runtime.supervisord.spawn import PATH
from streamsd.runtime.supervisord.wire import (
    CGROUPS_VARIABLE,
    PLUGIN_SETTINGS,
    RUNTIME_VARIABLE,
    PluginSettings,
)

_PATIENCE = 60.0

_CONFIG = """\
; Written by streamsd at each start of its runtime. Units are not listed here: they are added from memory.
; {directory} is reached as the descriptor {fd}, whatever its path.

[supervisord]
identifier = streamsd-{instance}
logfile = {here}/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
loglevel = warn
pidfile = {here}/supervisord.pid
childlogdir = {here}
nocleanup = true
umask = 077
; Not a limit but what supervisord closes in each child: large values cost seconds and swallow signals.
minfds = 64
minprocs = 1
{user}
[unix_http_server]
file = {here}/supervisor.sock
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:streamsd]
supervisor.rpcinterface_factory = streamsd.runtime.supervisord.plugin:make_interface
settings = {here}/{plugin_settings}
"""


def runtime_dir(settings: Settings) -> Path:
    return settings.run_dir / "runtime"


def supervisord_pid(settings: Settings) -> int:
    """What the pid file says; 0 where it says nothing."""
    try:
        return int((runtime_dir(settings) / "supervisord.pid").read_text())
    except (OSError, ValueError):
        return 0


@contextmanager
def boot_lock(settings: Settings) -> Iterator[None]:
    """Held while one looks for supervisord and starts it, so that two do not start two. Blocks. RuntimeFault."""
    directory = runtime_dir(settings)
    try:
        make_passable(settings.run_dir)
        make_private(directory)
        make_private(settings.log_dir)
        fd = os.open(directory / "boot.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise RuntimeFault("RuntimeFailed", f"cannot make {fault.filename}: {fault.strerror}") from None
    try:
        until = time.monotonic() + 2 * _PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RuntimeFault("RuntimeFailed", "another process is starting the runtime and hangs") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def boot(settings: Settings) -> None:
    """Start supervisord; it listens when this returns. Hold the boot lock. Blocks. RuntimeFault RuntimeFailed."""
    directory = runtime_dir(settings)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        config = _CONFIG.format(
            directory=str(directory).replace("\n", " ").replace("%", "%%"),
            fd=fd,
            instance=settings.instance,
            here=f"/proc/self/fd/{fd}",
            user="user = root\n" if os.geteuid() == 0 else "",
            plugin_settings=PLUGIN_SETTINGS,
        )
        plugin: PluginSettings = {"instance": settings.instance, "log_dir": str(settings.log_dir)}
        _write(directory / "supervisord.conf", config)
        _write(directory / PLUGIN_SETTINGS, json.dumps(plugin))
        _start(directory / "supervisord.conf", fd, settings.instance)
    except OSError as fault:
        raise RuntimeFault("RuntimeFailed", f"supervisord cannot be started: {fault}") from None
    finally:
        os.close(fd)


def _start(config: Path, directory_fd: int, instance: str) -> None:
    # -P: what lies in the working directory is not a module of ours.
    argv = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(config)]
    starting = subprocess.Popen(
        argv,
        env=_environment(instance),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(directory_fd,),
        start_new_session=True,
        umask=0o077,
    )
    try:
        # It forks into the background once its sockets listen, and then closes our pipe.
        said, _ = starting.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        starting.kill()
        starting.communicate()
        raise RuntimeFault("RuntimeFailed", f"supervisord did not come up within {_PATIENCE:g} s") from None
    if starting.returncode != 0:
        words = said.decode(errors="replace").strip().splitlines()
        raise RuntimeFault("RuntimeFailed", f"supervisord did not start: {' '.join(words[-3:])}")


def _environment(instance: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PYTHONPATH", CGROUPS_VARIABLE) if name in os.environ}
    return {"PATH": PATH, "LANG": "C.UTF-8", RUNTIME_VARIABLE: instance, **kept}


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as out:
        out.write(text)
