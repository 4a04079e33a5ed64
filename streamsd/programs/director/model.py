"""What an OBS holds, as values: the same shapes for what is wanted and for what is read back, so that a comparison is
a comparison. `parse.py` reads them from the desired document, `readback.py` from OBS.

Names follow obs-websocket 5. Items are listed from the bottom up, as OBS composes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from streamsd.core.report import JsonValue

Settings = Mapping[str, JsonValue]

NO_BOUNDS = "OBS_BOUNDS_NONE"


@dataclass(frozen=True, slots=True)
class Transform:
    """Where an item lies, in canvas pixels. Alignments are OBS's bits (1 left, 2 right, 4 top, 8 bottom)."""

    x: float = 0.0
    y: float = 0.0
    scale_x: float = 1.0
    scale_y: float = 1.0
    rotation: float = 0.0
    alignment: int = 5
    bounds_type: str = NO_BOUNDS
    bounds_width: float = 0.0
    bounds_height: float = 0.0
    bounds_alignment: int = 0
    crop_left: int = 0
    crop_right: int = 0
    crop_top: int = 0
    crop_bottom: int = 0

    def moved(self, dx: float, dy: float) -> Transform:
        return replace(self, x=self.x + dx, y=self.y + dy)

    def carried(self, dx: float, dy: float) -> Transform:
        """Moved by a distance within itself: what libobs does to a group (resize_group) when its children's box no
        longer begins at 0, 0. One that is fitted into bounds stays where it is."""
        if self.bounds_type != NO_BOUNDS or (dx, dy) == (0.0, 0.0):
            return self
        dx, dy, turn = dx * self.scale_x, dy * self.scale_y, math.radians(self.rotation)
        return self.moved(dx * math.cos(turn) - dy * math.sin(turn), dx * math.sin(turn) + dy * math.cos(turn))


@dataclass(frozen=True, slots=True)
class Filter:
    name: str
    kind: str
    settings: Settings
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Audio:
    """What comes out of an input with sound. `tracks`: those of 1–6 that it is mixed into."""

    volume_db: float = 0.0
    muted: bool = False
    balance: float = 0.5
    sync_ms: int = 0
    monitor: str = "OBS_MONITORING_TYPE_NONE"
    tracks: frozenset[int] = frozenset(range(1, 7))


@dataclass(frozen=True, slots=True)
class Input:
    """`audio` is None on an input that has no sound (read back) or of which nothing is said (wanted: the defaults)."""

    kind: str
    settings: Settings
    audio: Audio | None = None
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A source in a scene or group. `id` is OBS's, 0 when only wanted."""

    source: str
    enabled: bool = True
    locked: bool = False
    blend: str = "OBS_BLEND_NORMAL"
    transform: Transform = Transform()
    id: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene or a group. `transition` and `transition_ms` override the general ones when going to this scene."""

    items: tuple[Item, ...] = ()
    filters: tuple[Filter, ...] = ()
    transition: str | None = None
    transition_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A kind of change from scene to scene, under a name of its own. Cut and Fade are always there."""

    kind: str
    settings: Settings = field(default_factory=dict)


FIXED_TRANSITIONS = {"Cut": "cut_transition", "Fade": "fade_transition"}


@dataclass(frozen=True, slots=True)
class Video:
    base_width: int
    base_height: int
    output_width: int
    output_height: int
    fps_numerator: int
    fps_denominator: int


@dataclass(frozen=True, slots=True)
class Service:
    """Where a stream goes: `settings` of type rtmp_custom hold server and key (never printed)."""

    type: str
    settings: Settings = field(repr=False)


@dataclass(frozen=True, slots=True)
class Studio:
    """A collection and the state around it. Read back: all of it; wanted: all that is declared.

    `scenes` in the order of OBS's list, top first. `program` None: whatever it is. `parameters`: of the profile, by
    (section, name). `special`: the inputs that sound in every scene (Desktop Audio, Mic/Aux), by OBS's name of their
    place; they are among the `inputs`.
    """

    scenes: Mapping[str, Scene]
    inputs: Mapping[str, Input]
    groups: Mapping[str, Scene] = field(default_factory=dict)
    transitions: Mapping[str, Transition] = field(default_factory=dict)
    transition: str | None = None
    transition_ms: int | None = None
    program: str | None = None
    preview: str | None = None
    studio_mode: bool | None = None
    video: Video | None = None
    service: Service | None = None
    parameters: Mapping[tuple[str, str], str] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What ought to run: None leaves an output as it is."""

    stream: bool | None = None
    record: bool | None = None
    replay_buffer: bool | None = None
    virtual_camera: bool | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired document. `digests` name its parts' contents without saying secrets: `scenes`, `structure` (what
    takes a collection reload), `profile` (what takes stopped outputs). `collection` is loaded, `collections` are there,
    `others` is what those hold that are not loaded. `prune`: what is not declared goes; `interrupt`: a running output
    may be stopped and started for a change that needs it. `answer_within`: seconds after which an OBS that does not
    answer counts as hanging. `encoders`: the advanced mode's encoder settings, by the file of the profile that OBS
    reads them from (without its ending)."""

    digests: Mapping[str, str]
    studio: Studio
    outputs: Outputs
    profile: str
    collection: str
    collections: frozenset[str]
    prune: bool
    interrupt: bool
    answer_within: float
    encoders: Mapping[str, Settings] = field(default_factory=dict)
    others: Mapping[str, Studio] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Owned:
    """Names that an earlier document declared and the present one does not: they go though `prune` is off."""

    scenes: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    items: frozenset[tuple[str, str]] = frozenset()
    filters: frozenset[tuple[str, str]] = frozenset()
    transitions: frozenset[str] = frozenset()
    collections: frozenset[str] = frozenset()
    special: frozenset[str] = frozenset()
