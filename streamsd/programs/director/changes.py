"""Changes: what a comparison finds to be done, each with its requests, its cost and its place in the order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import assert_never

from streamsd.programs.director.client import Request


class Phase(IntEnum):
    """Order matters: a nested scene before the items that show it, an item's place before it becomes visible,
    the program scene away from what goes, deletes last."""

    PROFILE = 10
    VIDEO = 11
    SERVICE = 12
    SCENE = 20
    INPUT = 21
    ITEM = 22
    SETTINGS = 30
    AUDIO = 31
    FILTER = 32
    TRANSFORM = 40
    FLAGS = 41
    ORDER = 42
    VISIBLE = 43
    TRANSITION = 50
    STUDIO_MODE = 51
    PROGRAM = 60
    DELETE = 70


class Cost(Enum):
    """What a change takes (measured with OBS 29, docs/obs.md)."""

    LIVE = "live"
    OUTPUTS_STOPPED = "outputs stopped"
    """Refused, or without effect, while an output that it concerns runs."""
    COLLECTION_RELOAD = "collection reload"
    PROFILE_RELOAD = "profile reload"


class OutputName(Enum):
    STREAM = "stream"
    RECORD = "record"
    REPLAY_BUFFER = "replay buffer"
    VIRTUAL_CAMERA = "virtual camera"


ALL_OUTPUTS = frozenset(OutputName)


@dataclass(frozen=True, slots=True)
class Change:
    """`about` and `words` are for people and say no secret. `stops`: outputs that must not run meanwhile."""

    phase: Phase
    about: str
    words: str
    requests: tuple[Request, ...] = ()
    cost: Cost = Cost.LIVE
    stops: frozenset[OutputName] = frozenset()
    cosmetic: bool = False
    """Not worth an interruption, nor saying that it waits for one."""

    @property
    def part(self) -> str:
        """The part of the desired document that it belongs to."""
        match self.cost:
            case Cost.LIVE:
                return "scenes"
            case Cost.COLLECTION_RELOAD:
                return "structure"
            case Cost.OUTPUTS_STOPPED | Cost.PROFILE_RELOAD:
                return "profile"
            case _:
                assert_never(self.cost)

    def __str__(self) -> str:
        return f"{self.about}: {self.words}"


@dataclass(frozen=True, slots=True)
class Impossible:
    """Something wanted that this OBS cannot do, with the word for it."""

    reason: str
    about: str
    message: str
