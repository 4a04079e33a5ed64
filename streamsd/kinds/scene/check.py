"""What can be known to be wrong with a scene before OBS is asked."""

from __future__ import annotations

from collections.abc import Iterator

from streamsd.core.diagnostics import FieldPath, Problem
from streamsd.drivers.obs.check import check_filters, check_source
from streamsd.drivers.obs.source import SourceSpec
from streamsd.kinds.scene.content import names_of
from streamsd.kinds.scene.spec import SceneSpec


def check_scene(name: str, spec: SceneSpec) -> Iterator[Problem]:
    """Problems of a whole scene, paths relative to its spec."""
    seen: dict[str, FieldPath] = {name: ()}
    for source, at in names_of(spec):
        if source in seen:
            first = "the scene itself" if not seen[source] else "another item"
            yield Problem(
                "source-defined-twice",
                f"{source!r} is the name of {first} already",
                "to show a source twice, write `source: NAME` the second time",
                at,
            )
        seen.setdefault(source, at)
    yield from check_filters(spec.filters, ("filters",), silent=False, sound_only=False)
    for index, item in enumerate(spec.items):
        path: FieldPath = ("items", index)
        if item.group is not None:
            if item.sound is not None:
                yield Problem(
                    "sound-on-group", "a group has no sound of its own", "give sound to its members", (*path, "sound")
                )
            if item.align != "top-left":
                hint = "leave align out, and give the position of its top left corner"
                yield Problem("group-align", "OBS places a group by its top left corner", hint, (*path, "align"))
            yield from check_filters(item.filters, (*path, "filters"), silent=False, sound_only=False)
    for defined, path in sources_of(spec):
        yield from check_source(defined, path)


def sources_of(spec: SceneSpec) -> Iterator[tuple[SourceSpec, FieldPath]]:
    """The sources that the scene itself defines, in its groups too."""
    for index, item in enumerate(spec.items):
        path: FieldPath = ("items", index)
        if item.group is not None:
            for member_index, member in enumerate(item.group.items):
                if member.source is None:
                    yield member, (*path, "group", "items", member_index)
        elif item.source is None and item.scene is None:
            yield item, path
