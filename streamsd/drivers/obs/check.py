"""What can be known to be wrong with a source before OBS is asked: names, settings, missing files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from streamsd.core.diagnostics import FieldPath, Problem, Severity, name_hint, nearest
from streamsd.drivers.obs import catalog
from streamsd.drivers.obs.inputs import kind_of
from streamsd.drivers.obs.source import FilterSpec, SourceSpec

_PLUGIN_HINT = "write `plugin: true` beside it if a plugin brings it"


def check_source(spec: SourceSpec, path: FieldPath) -> Iterator[Problem]:
    """Problems of one source that its spec shows."""
    kind = kind_of(spec)
    if spec.input is not None and not spec.input.plugin:
        yield from _names(
            "input", kind, spec.input.settings, catalog.INPUTS, (*path, "input"), typed=_TYPED.get(kind, "")
        )
    if spec.audio is not None and (spec.audio.device is None) == (spec.audio.source is None):
        yield Problem("audio-source", "say device or source, and not both", "leave one of them out", (*path, "audio"))
    if spec.text is not None and spec.text.file is not None and spec.text.text:
        yield Problem("text-twice", "text and file are both given", "leave one of them out", (*path, "text"))
    if spec.network is not None and "@" in spec.network.url.partition("://")[2].partition("/")[0]:
        yield Problem(
            "url-with-password",
            "the URL holds a user and password, which OBS keeps and shows in the open",
            "take them out, and let the server admit this host another way",
            severity=Severity.WARNING,
            path=(*path, "network", "url"),
        )
    silent = kind in catalog.SILENT_INPUTS
    if silent and spec.sound is not None:
        yield Problem("no-sound", f"{kind} has no sound", "leave sound out", (*path, "sound"))
    yield from check_filters(spec.filters, (*path, "filters"), silent=silent, sound_only=kind in catalog.SOUND_INPUTS)


def check_files(spec: SourceSpec, path: FieldPath, base: Path, known: Collection[Path]) -> Iterator[Problem]:
    """Files of a source that are not there. `known`: those that were accepted before, which must not stand in the way
    of an edit of something else: the director tells of them while the profile is applied."""
    for file_path, file in files_of(spec):
        found = base / file
        if os.path.exists(found):  # noqa: PTH110 - no error for a name too long
            continue
        at: FieldPath = (*path, *file_path)
        if found in known:
            hint = "it is shown again when it is back"
            yield Problem("file-missing", f"{found} is no longer there", hint, at, Severity.WARNING)
        else:
            yield Problem("file-missing", f"{found} does not exist", _file_hint(found), at)


def files_among(sources: Iterable[SourceSpec], base: Path) -> frozenset[Path]:
    """The files that these show."""
    return frozenset(base / file for source in sources for _, file in files_of(source))


def _file_hint(path: Path) -> str:
    try:
        names = sorted(each.name for each in path.parent.iterdir())
    except OSError:
        return f"there is no directory {path.parent}: relative paths are relative to the profile"
    close = nearest(path.name, names[:1000])
    return f"did you mean {close!r}?" if close else "put it there, or correct the path"


def check_filters(
    filters: Iterable[FilterSpec], path: FieldPath, *, silent: bool, sound_only: bool
) -> Iterator[Problem]:
    """Problems of the filters of one source. `silent`: it has no sound; `sound_only`: no picture. On such a source OBS
    says yes to the other's filters and adds nothing."""
    seen: set[str] = set()
    for index, spec in enumerate(filters):
        at = (*path, index)
        if spec.name in seen:
            yield Problem("filter-name-twice", f"a second filter {spec.name!r}", "give it another name", (*at, "name"))
        seen.add(spec.name)
        if not spec.plugin:
            yield from _names("filter", spec.kind, spec.settings, catalog.FILTERS, at)
        if silent and spec.kind in catalog.AUDIO_FILTERS:
            yield Problem(
                "filter-does-not-fit", f"{spec.kind} is for sound, and the source has none", "take it out", at
            )
        if sound_only and spec.kind in catalog.VIDEO_FILTERS:
            yield Problem(
                "filter-does-not-fit", f"{spec.kind} is for pictures, and the source has none", "take it out", at
            )


def _names(
    what: str,
    kind: str,
    settings: Mapping[str, Any],
    known: Mapping[str, catalog.Keys],
    path: FieldPath,
    typed: str = "",
) -> Iterator[Problem]:
    if kind not in known:
        newest = catalog.newest(kind, known)
        if newest is not None:
            hint = f"did you mean {newest!r}?"
        else:
            close = nearest(kind, known)
            hint = f"did you mean {close!r}? {_PLUGIN_HINT}" if close else f"{_listing(known)}; {_PLUGIN_HINT}"
        yield Problem(f"{what}-kind-unknown", f"OBS has no {what} kind {kind!r}", hint, (*path, "kind"))
        return
    keys = known[kind]
    if keys is None:
        return
    for key in settings:
        if key not in keys:
            hint = name_hint(key, keys, "settings")
            more = f" ({typed} says the same in words)" if typed else ""
            yield Problem("setting-unknown", f"{kind} has no setting {key!r}", hint + more, (*path, "settings", key))


_TYPED = {
    "color_source_v3": "color",
    "image_source": "image",
    "slideshow": "slideshow",
    "text_ft2_source_v2": "text",
    "xshm_input": "screen",
}


def _listing(known: Collection[str]) -> str:
    return f"known: {', '.join(sorted(known))}"


def files_of(spec: SourceSpec) -> Iterator[tuple[FieldPath, str]]:
    """Files that must exist before OBS is told of them: it takes a missing one without a word."""
    if spec.image is not None:
        yield ("image", "file"), spec.image.file
    if spec.slideshow is not None:
        for index, file in enumerate(spec.slideshow.files):
            yield ("slideshow", "files", index), file
    if spec.text is not None and spec.text.file is not None:
        yield ("text", "file"), spec.text.file
    if spec.media is not None:
        yield ("media", "file"), spec.media.file
