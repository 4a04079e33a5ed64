"""What a profile says of a program."""

from __future__ import annotations

import re
from signal import Signals
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, Strict, StringConstraints, model_validator

from streamsd.core.change import OnChange
from streamsd.core.kind import RefTo, Spec
from streamsd.core.secret import Secret
from streamsd.core.unit import RestartMode
from streamsd.core.units import Seconds, Size

Word: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Variable: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
EnvValue: TypeAlias = str | Annotated[int, Strict()] | Secret


class AppLimits(Spec):
    """What the program and all that it starts may use together."""

    memory: Annotated[Size | None, OnChange.PATCH] = None
    """Memory. Past it the kernel ends the program alone, and it is started again."""

    cpu: Annotated[int | None, OnChange.PATCH] = Field(default=None, ge=1, le=100_000)
    """Percent of one core: 50 is half a core, 200 two cores."""

    nice: Annotated[int, OnChange.PATCH] = Field(default=0, ge=-20, le=19)
    """Scheduling priority: 19 gives way to everything else, below 0 needs root."""

    open_files: Annotated[int | None, OnChange.RESTART] = Field(default=None, ge=16, le=1_048_576)
    """How many files and sockets it may have open."""


class AppStop(Spec):
    """How the program is asked to end."""

    signal: Annotated[Literal["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL"], OnChange.NONE] = "TERM"
    """The signal that it is sent first."""

    grace: Annotated[Seconds, OnChange.NONE] = Seconds(10)
    """How long it is given before it is killed, and all that it started with it."""

    @property
    def signum(self) -> Signals:
        return Signals[f"SIG{self.signal}"]


class AppWindow(Spec):
    """A window, by its title, its class, or both."""

    title: Annotated[Word | None, OnChange.NONE] = None
    """A part of the title, in any case."""

    class_: Annotated[Word | None, OnChange.NONE] = Field(default=None, alias="class")
    """The class or instance (WM_CLASS), as xprop shows it, in any case."""


_READY = ("window", "tcp", "http", "file", "command", "after")


def _one_of(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": [name]} for name in _READY]


class AppReady(Spec):
    """When the program counts as ready: exactly one of `window`, `tcp`, `http`, `file`, `command` and `after`."""

    model_config = ConfigDict(json_schema_extra=_one_of)

    window: Annotated[AppWindow | None, OnChange.NONE] = None
    """A window of it is on the display. `{}`: any window."""

    tcp: Annotated[int | None, OnChange.NONE] = Field(default=None, ge=1, le=65535)
    """This port on 127.0.0.1 accepts connections."""

    http: Annotated[str | None, OnChange.NONE] = Field(default=None, pattern=r"^https?://[^\s/]+(/\S*)?$")
    """GET of this URL answers 200 to 399."""

    file: Annotated[Word | None, OnChange.NONE] = None
    """This file exists and is not empty. A relative path is relative to the profile's file."""

    command: Annotated[tuple[str, ...] | None, OnChange.NONE] = Field(default=None, min_length=1)
    """This command exits 0. It has the program's environment."""

    after: Annotated[Seconds | None, OnChange.NONE] = None
    """It has lived so long."""

    within: Annotated[Seconds, OnChange.NONE] = Seconds(30)
    """How long it may take at its start. Then it is started again."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in _READY if name in self.model_fields_set]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(_READY)}")
        return self


def _no_nul(value: tuple[str, ...]) -> tuple[str, ...]:
    if any("\0" in word for word in value):
        raise ValueError("a word of a command cannot hold a NUL character")
    return value


class AppSpec(Spec):
    """A program that is kept running."""

    command: Annotated[tuple[str, ...], AfterValidator(_no_nul)] = Field(min_length=1)
    """The program and its arguments, one word each: no shell reads it. A program without a `/` is looked for on the
    search path, one with it is relative to the profile's file. Secrets do not belong here: every user of the host can
    read it. Give them in `env`."""

    display: Annotated[str | None, RefTo("Display")] = None
    """The display that it draws on: it gets DISPLAY and XAUTHORITY, and starts anew when the display does."""

    audio: Annotated[str | None, RefTo("Audio")] = None
    """The sound device that it plays to."""

    env: dict[Variable, EnvValue] = Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    """Environment variables beside PATH, HOME and LANG; a value may be a secret."""

    cwd: str | None = None
    """The directory that it works in; relative to the profile's file. Left out: a private one, which goes
    when the app does."""

    user: str | None = None
    """The user that it runs as. Left out: the daemon's own. Another one needs a daemon that runs as root."""

    restart: Annotated[Literal["always", "on_failure", "never"], OnChange.NONE] = "always"
    """Whether it is started again when it ends: always, when it ends with an error, or never."""

    limits: AppLimits = AppLimits()
    """What it may use."""

    stop: Annotated[AppStop, OnChange.NONE] = AppStop()
    """How it is asked to end."""

    ready: Annotated[AppReady | None, OnChange.NONE] = None
    """When it counts as ready. Left out: as soon as it runs."""

    description: Annotated[str, OnChange.NONE] = ""
    """For people."""

    @property
    def restart_mode(self) -> RestartMode:
        return RestartMode(self.restart.replace("_", "-"))


RESERVED = re.compile(r"^STREAMSD_")
"""Variables that carry a process's identity."""
