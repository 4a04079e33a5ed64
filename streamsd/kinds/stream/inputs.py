"""From a stream's sources, and what displays and devices say of themselves, to what ffmpeg captures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.core.address import Address
from streamsd.core.diagnostics import FieldPath, Problem, ProblemsError
from streamsd.core.kind import Context, Resource
from streamsd.core.units import Resolution
from streamsd.drivers.ffmpeg.media import (
    AudioSource,
    FileSource,
    PulseSource,
    ScreenSource,
    TestPattern,
    ToneSource,
    VideoSource,
)
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay
from streamsd.kinds.stream.sources import AudioSourceSpec, Region, VideoSourceSpec
from streamsd.kinds.stream.spec import StreamSpec, VideoSpec

DEFAULT_FPS = 30.0
WINDOW_ID = "{window}"
"""What the launcher puts the window's id in place of."""

WINDOW_REPORT = "window.json"
"""Where the launcher says that it waits, relative to the stream's directory; not there when it does not."""


@dataclass(frozen=True, slots=True)
class VideoInput:
    """A capture with the environment it needs. `fps` None: as the file has it. `launcher`: what must run before
    ffmpeg, to be given its command line."""

    source: VideoSource
    fps: float | None
    env: dict[str, str] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()


def video_input(resource: Resource[StreamSpec], video: VideoSpec, context: Context) -> VideoInput:
    """ProblemsError when a region does not lie on its display."""
    source = video.source
    captured = source.fps or video.fps or DEFAULT_FPS
    if source.test is not None:
        test = source.test
        return VideoInput(TestPattern(test.pattern, test.resolution, captured), video.fps or captured)
    if source.file is not None:
        path = absolute(resource.base, source.file)
        return VideoInput(FileSource(path, source.loop), video.fps or source.fps)
    assert source.display is not None, "exactly one source is given"
    display = context.exports(Address("Display", source.display), XDisplay)
    return _screen(source, display, captured, video.fps or captured, context)


def _screen(source: VideoSourceSpec, display: XDisplay, captured: float, fps: float, context: Context) -> VideoInput:
    whole = display.resolution
    if source.window is not None:
        window = source.window
        launcher = [
            *context.python("streamsd.programs.x11window"),
            "--display",
            display.name,
            "--report",
            WINDOW_REPORT,
        ]
        if window.title is not None:
            launcher += ["--title", window.title]
        if window.class_ is not None:
            launcher += ["--class", window.class_]
        grab = ScreenSource(display.name, 0, 0, whole, captured, source.cursor, WINDOW_ID)
        return VideoInput(grab, fps, display.env, (*launcher, "--"))
    area = source.region or Region(x=0, y=0, width=whole.width, height=whole.height)
    if area.x + area.width > whole.width or area.y + area.height > whole.height:
        raise ProblemsError(
            [
                Problem(
                    "region-outside",
                    f"the region ends at {area.x + area.width},{area.y + area.height}, the display at"
                    f" {whole.width},{whole.height}",
                    "make the region smaller or the display's resolution larger",
                    ("video", "source", "region"),
                )
            ]
        )
    size = Resolution(area.width, area.height)
    return VideoInput(ScreenSource(display.name, area.x, area.y, size, captured, source.cursor), fps, display.env)


def audio_input(
    source: AudioSourceSpec, resource: Resource[StreamSpec], context: Context
) -> tuple[AudioSource, dict[str, str]]:
    """The capture, and the environment it needs."""
    if source.tone is not None:
        return ToneSource(source.tone), {}
    if source.file is not None:
        return FileSource(absolute(resource.base, source.file), source.loop), {}
    assert source.device is not None, "exactly one source is given"
    device = context.exports(Address("Audio", source.device), PulseDevice)
    return PulseSource(device.server, device.monitor), device.env


def missing_files(resource: Resource[StreamSpec]) -> Iterable[Problem]:
    """Files that are named as sources and are not there."""
    spec = resource.spec
    named: list[tuple[str | None, FieldPath]] = []
    if spec.video:
        named.append((spec.video.source.file, ("video", "source", "file")))
    if spec.audio:
        named.append((spec.audio.source.file, ("audio", "source", "file")))
    for name, path in named:
        if name is not None and not os.path.isfile(absolute(resource.base, name)):  # noqa: PTH113 - no error
            yield Problem(
                "file-missing",
                f"there is no file {absolute(resource.base, name)}",
                "paths are relative to the profile's file",
                path,
            )


def absolute(base: Path, path: str) -> Path:
    """A path of the profile, where it really is."""
    return base.absolute() / Path(path).expanduser()
