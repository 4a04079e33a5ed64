"""Files that inputs show: OBS takes one that is not there without a word, and one that goes while it is shown vanishes
from the picture. Looked at once a second; OBS is told anew of what is back: it looks by itself at images only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from streamsd.core.report import JsonValue
from streamsd.programs.director.changes import Impossible
from streamsd.programs.director.client import Request
from streamsd.programs.director.kinds import base
from streamsd.programs.director.model import Input, Settings

_FILTER_FILES = ("image_path",)
"""Settings of mask_filter and clut_filter."""


class MediaFiles:
    """Knows which files were not there at the last look."""

    def __init__(self) -> None:
        self._missing: dict[str, tuple[str, ...]] = {}

    def look(self, inputs: Mapping[str, Input]) -> list[Request]:
        """What to send so that OBS shows files that are back."""
        before = self._missing
        self._missing = {}
        for name, wanted in inputs.items():
            gone = tuple(path for path in _files(wanted) if not _is_there(path, base(wanted.kind) == "slideshow"))
            if gone:
                self._missing[name] = gone
        return [
            Request.of("SetInputSettings", inputName=name, inputSettings=settings, overlay=True)
            for name, gone in before.items()
            if name in inputs and set(gone) - set(self._missing.get(name, ())) and (settings := _shown_by(inputs[name]))
        ]

    @property
    def findings(self) -> tuple[Impossible, ...]:
        """A source with its files that are not there."""
        return tuple(
            Impossible("FileMissing", f"input {name}", f"{', '.join(gone)}: no such file; it is shown when it is there")
            for name, gone in self._missing.items()
        )


def _files(wanted: Input) -> Iterator[str]:
    for value in _shown_by(wanted).values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (str(row["value"]) for row in value if isinstance(row, dict) and row.get("value"))
    for filter in wanted.filters:
        if filter.enabled:
            yield from (str(filter.settings[key]) for key in _FILTER_FILES if filter.settings.get(key))


def _shown_by(wanted: Input) -> dict[str, JsonValue]:
    """The settings that name files, of the kinds whose do."""
    settings: Settings = wanted.settings
    match base(wanted.kind):
        case "image_source":
            key = "file"
        case "slideshow":
            key = "files"
        case "ffmpeg_source" if settings.get("is_local_file", True):
            key = "local_file"
        case "text_ft2_source" if settings.get("from_file"):
            key = "text_file"
        case _:
            return {}
    return {key: settings[key]} if settings.get(key) else {}


def _is_there(path: str, may_be_directory: bool) -> bool:
    """A slideshow takes a directory; other kinds take one without a word, and show nothing."""
    return os.path.exists(path) and (may_be_directory or not os.path.isdir(path))  # noqa: PTH110, PTH112 - Path raises for a name too long
