"""From an app's spec to its process."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import assert_never

from streamsd.core.address import Address, UnitId
from streamsd.core.diagnostics import Problem
from streamsd.core.kind import Compiled, Context, Kind, Resource
from streamsd.core.unit import (
    Check,
    CommandOk,
    File,
    FileExists,
    HttpOk,
    Limits,
    Probe,
    Probes,
    ProcessAlive,
    RestartPolicy,
    StopPolicy,
    TcpPort,
    Text,
    Unit,
    XWindow,
)
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay
from streamsd.drivers.x11.authority import authority_file
from streamsd.kinds.app.programs import find, install_hint, text
from streamsd.kinds.app.spec import RESERVED, AppLimits, AppReady, AppSpec

MAIN = "main"


class AppKind(Kind[AppSpec]):
    name = "App"
    section = "apps"
    summary = "A program that is kept running, on a display and a sound device if it wants them."
    spec = AppSpec

    def check_spec(self, name: str, spec: AppSpec) -> Iterable[Problem]:
        if spec.ready and spec.ready.window and spec.display is None:
            yield Problem("display-needed", "a window needs a display", "add display: NAME", ("ready", "window"))
        yield from _check_env(spec)

    def check(self, resource: Resource[AppSpec], context: Context) -> Iterable[Problem]:
        spec = resource.spec
        yield from _check_program(resource, context, spec.command[0], ("command", 0))
        if spec.ready and spec.ready.command:
            yield from _check_program(resource, context, spec.ready.command[0], ("ready", "command", 0))
        if spec.cwd is not None and not os.path.isdir(resource.base.absolute() / spec.cwd):  # noqa: PTH112 - no error
            yield Problem("directory-missing", f"there is no directory {spec.cwd}", "make it first", ("cwd",))
        if spec.user is not None:
            yield from _check_user(spec, spec.user, resource, context)

    def compile(self, resource: Resource[AppSpec], context: Context) -> Compiled:
        spec, directory = resource.spec, context.directory(resource.address)
        program = find(spec.command[0], resource, context)
        assert program is not None, "check refuses an app without its program"
        display = None if spec.display is None else context.exports(Address("Display", spec.display), XDisplay)
        env, files = _surroundings(spec, directory, display, context)
        unit = Unit(
            id=UnitId(resource.address, MAIN),
            argv=(str(program), *spec.command[1:]),
            env={**env, **{name: text(value) for name, value in spec.env.items()}},
            cwd=resource.base.absolute() / spec.cwd if spec.cwd is not None else directory,
            user=spec.user,
            umask=0o022,
            files=files,
            directories=(directory,),
            limits=_limits(spec.limits),
            probes=_probes(spec.ready, display, resource, context),
            stop=StopPolicy(((spec.stop.signum, spec.stop.grace.seconds),)),
            restart=RestartPolicy(mode=spec.restart_mode),
        )
        return Compiled(units=(unit,))


def _surroundings(
    spec: AppSpec, directory: Path, display: XDisplay | None, context: Context
) -> tuple[dict[str, Text], tuple[File, ...]]:
    """Environment and files that let the program into its display and its sound device."""
    env: dict[str, Text] = {}
    files: tuple[File, ...] = ()
    if display is not None:
        env |= display.env
        if _is_other(spec.user):
            own = authority_file(directory / "Xauthority", display.cookie)
            env["XAUTHORITY"] = str(own.path)
            files = (own,)
    if spec.audio is not None:
        env |= context.exports(Address("Audio", spec.audio), PulseDevice).env
    return env, files


def _limits(limits: AppLimits) -> Limits:
    memory = limits.memory.bytes if limits.memory is not None else None
    return Limits(memory_bytes=memory, cpu_percent=limits.cpu, nice=limits.nice, open_files=limits.open_files)


def _probes(ready: AppReady | None, display: XDisplay | None, resource: Resource[AppSpec], context: Context) -> Probes:
    if ready is None:
        return Probes()
    check = _check_of(ready, display, resource, context)
    match check:
        case ProcessAlive() | FileExists():
            readiness = None  # once is for ever
        case CommandOk():
            readiness = Probe(check, interval=10.0, timeout=10.0)
        case _:
            readiness = Probe(check)
    startup = Probe(check, interval=0.2 if isinstance(check, CommandOk) else 0.1, timeout=5.0)
    return Probes(startup=startup, readiness=readiness, within=ready.within.seconds)


def _check_of(ready: AppReady, display: XDisplay | None, resource: Resource[AppSpec], context: Context) -> Check:
    match ready:
        case AppReady(window=window) if window is not None and display is not None:
            return XWindow(display.name, display.authority, window.title, window.class_)
        case AppReady(tcp=port) if port is not None:
            return TcpPort("127.0.0.1", port)
        case AppReady(http=url) if url is not None:
            return HttpOk(url)
        case AppReady(file=path) if path is not None:
            return FileExists(resource.base.absolute() / path)
        case AppReady(command=command) if command is not None:
            program = find(command[0], resource, context)
            assert program is not None, "check refuses a command without its program"
            return CommandOk((str(program), *command[1:]))
        case AppReady(after=after):
            return ProcessAlive(after.seconds if after is not None else 0.0)
        case _:
            assert_never(ready)


def _check_program(
    resource: Resource[AppSpec], context: Context, word: str, path: tuple[str | int, ...]
) -> Iterable[Problem]:
    if find(word, resource, context) is None:
        what = f"there is no program {word}" if "/" in word else f"{word or 'an empty word'} is not installed"
        yield Problem("program-missing", what, install_hint(word), path)


def _check_env(spec: AppSpec) -> Iterable[Problem]:
    given = {"DISPLAY": "display", "XAUTHORITY": "display"} if spec.display is not None else {}
    if spec.audio is not None:
        given |= {"PULSE_SERVER": "audio", "PULSE_SINK": "audio", "PULSE_COOKIE": "audio"}
    for name, value in spec.env.items():
        if RESERVED.match(name):
            yield Problem("env-reserved", f"{name} is streamsd's own", "use another name", ("env", name))
        elif name in given:
            field = given[name]
            yield Problem("env-conflict", f"{name} comes from {field}", "leave out one of the two", ("env", name))
        elif "\0" in str(value):
            yield Problem("env-invalid", f"{name} holds a NUL character", "leave it out", ("env", name))


def _check_user(spec: AppSpec, user: str, resource: Resource[AppSpec], context: Context) -> Iterable[Problem]:
    try:
        found = pwd.getpwnam(user)
    except (KeyError, ValueError):
        yield Problem("user-unknown", f"this host has no user {user!r}", "adduser it, or leave user out", ("user",))
        return
    if found.pw_uid == os.geteuid():
        return
    if os.geteuid() != 0:
        yield Problem("user-needs-root", f"only root can run programs as {user}", "leave user out", ("user",))
    if spec.audio is not None:
        yield Problem(
            "user-audio", f"the sound device belongs to the daemon's user, not to {user}", "leave one out", ("audio",)
        )
    for parent in context.directory(resource.address).parents:
        if not parent.stat().st_mode & 0o001:
            yield Problem("user-shut-out", f"{user} cannot pass {parent}", f"chmod o+x {parent}", ("user",))


def _is_other(user: str | None) -> bool:
    return user is not None and pwd.getpwnam(user).pw_uid != os.geteuid()


KIND = AppKind()
