"""What can be known to be wrong with an instance before OBS is asked."""

from __future__ import annotations

from collections.abc import Iterator

from streamsd.core.diagnostics import FieldPath, Problem, name_hint, nearest
from streamsd.drivers.obs import catalog
from streamsd.drivers.obs.check import check_filters, check_source
from streamsd.drivers.obs.content import Collection
from streamsd.drivers.pulse import PulseDevice
from streamsd.kinds.obs.document import fixed_transitions
from streamsd.kinds.obs.spec import ObsSpec

_DEVICE_OR_SOURCE = "device: one of `audio`, or source: the name of a source of the sound server, or default"

_LEAST_PATIENCE = 4.0
"""Seconds."""


def check_spec(spec: ObsSpec) -> Iterator[Problem]:
    """Problems of the spec alone."""
    yield from _patience(spec)
    yield from _tracks(spec)
    yield from _sizes(spec)
    yield from _scenes(spec)
    yield from _shown(spec)
    yield from _transitions(spec)
    for place, special in spec.special.items():
        at: FieldPath = ("special", place)
        if (special.device is None) == (special.source is None):
            yield Problem("audio-source", "say device or source, and not both", _DEVICE_OR_SOURCE, at)
        yield from check_filters(special.filters, (*at, "filters"), silent=False, sound_only=True)
    for name, source in spec.sources.items():
        yield from check_source(source, ("sources", name))
    if spec.external is not None:
        for field in ("display", "audio"):
            if getattr(spec, field) is not None:
                yield Problem(
                    "external-has-own", f"an external OBS has its own {field}", f"leave {field} out", (field,)
                )


def check_collection(spec: ObsSpec, collection: Collection, audio: PulseDevice | None) -> Iterator[Problem]:
    """Problems that only the scenes' contents show."""
    for device in collection.devices:
        if audio is None or device.server != audio.server:
            yield Problem(
                "audio-of-another-server",
                "a scene captures a device that is not this instance's: OBS uses one sound server",
                "name that device in `audio`"
                if audio is None
                else "capture the device that `audio` names; others can be its inputs (audio: {source: NAME})",
                ("audio",) if audio is not None else ("scenes",),
            )
    known = {*fixed_transitions(), *spec.transitions}
    for content in collection.scenes:
        name = content.scene.get("transition")
        if isinstance(name, str) and name not in known:
            yield Problem(
                "transition-unknown",
                f"scene {content.name} is come to by {name!r}, which this instance does not have",
                name_hint(name, known, "known"),
                ("transitions",),
            )


def _shown(spec: ObsSpec) -> Iterator[Problem]:
    names = list(dict.fromkeys([*spec.scenes, *(name for scenes in spec.collections.values() for name in scenes)]))
    for field, wanted in (("program", spec.program), ("preview", spec.preview)):
        if wanted is not None and wanted not in names:
            yield Problem("scene-not-listed", f"{wanted!r} is none of its scenes", name_hint(wanted, names), (field,))


def _patience(spec: ObsSpec) -> Iterator[Problem]:
    if spec.answer_within.seconds < _LEAST_PATIENCE:
        yield Problem(
            "answer-within-short",
            f"OBS may be busy for longer than {spec.answer_within}, such as when it loads a collection",
            f"write {_LEAST_PATIENCE:g}s or more",
            ("answer_within",),
        )


def _tracks(spec: ObsSpec) -> Iterator[Problem]:
    if spec.record is not None and spec.advanced is None and set(spec.record.tracks) != {1}:
        yield Problem(
            "tracks-need-advanced",
            "OBS records other tracks than the first in its advanced mode only",
            "declare `advanced`, or leave tracks out",
            ("record", "tracks"),
        )


def _sizes(spec: ObsSpec) -> Iterator[Problem]:
    size, path = (spec.output, ("output",)) if spec.output is not None else (spec.canvas, ("canvas",))
    width, height = size.width & ~3, size.height & ~1
    if (width, height) != (size.width, size.height):
        yield Problem(
            "output-size-odd",
            f"OBS rounds an output of {size} to {width}x{height}",
            f"write {width}x{height}: a width that 4 divides and an even height",
            path,
        )


def _scenes(spec: ObsSpec) -> Iterator[Problem]:
    lists: list[tuple[FieldPath, list[str]]] = [(("scenes",), spec.scenes)]
    lists += [(("collections", name), scenes) for name, scenes in spec.collections.items()]
    for path, scenes in lists:
        for index, name in enumerate(scenes):
            if name in scenes[:index]:
                yield Problem("scene-twice", f"{name!r} is listed already", "take one of them out", (*path, index))
        if not scenes and path != ("scenes",):
            yield Problem(
                "collection-empty",
                "a collection has at least one scene",
                "name a scene, or leave the collection out",
                path,
            )
    if spec.collections and spec.collection is not None and spec.collection not in spec.collections:
        hint = name_hint(spec.collection, spec.collections)
        yield Problem("collection-unknown", f"no collection {spec.collection!r}", hint, ("collection",))
    if spec.preview is not None and not spec.studio_mode:
        yield Problem("preview-without-studio-mode", "a preview needs studio mode", "studio_mode: true", ("preview",))


def _transitions(spec: ObsSpec) -> Iterator[Problem]:
    for name, transition in spec.transitions.items():
        path: FieldPath = ("transitions", name)
        if name in fixed_transitions():
            yield Problem("transition-fixed", f"{name} is always there as it is", "give yours another name", path)
        keys = catalog.TRANSITIONS.get(transition.kind)
        if transition.kind not in catalog.TRANSITIONS:
            close = nearest(transition.kind, catalog.TRANSITIONS)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(catalog.TRANSITIONS)}"
            message = f"OBS has no transition kind {transition.kind!r}"
            yield Problem("transition-kind-unknown", message, hint, (*path, "kind"))
        for key in transition.settings:
            if keys is not None and key not in keys:
                message = f"{transition.kind} has no setting {key!r}"
                yield Problem("setting-unknown", message, name_hint(key, keys, "settings"), (*path, "settings", key))
    known = {*fixed_transitions(), *spec.transitions}
    if spec.transition.name not in known:
        message = f"no transition is called {spec.transition.name!r}"
        hint = name_hint(spec.transition.name, known, "known")
        yield Problem("transition-unknown", message, hint, ("transition", "name"))
