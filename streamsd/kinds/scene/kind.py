"""From a scene's spec to what it says of itself: a scene has no process, the instances that list it show it."""

from __future__ import annotations

from collections.abc import Iterable

from streamsd.core.address import Address
from streamsd.core.diagnostics import Problem
from streamsd.core.kind import Compiled, Context, Kind, Resource
from streamsd.drivers.obs.check import check_files, files_among
from streamsd.drivers.obs.content import SceneContent
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay
from streamsd.kinds.scene.check import check_scene, sources_of
from streamsd.kinds.scene.content import ContentBuilder
from streamsd.kinds.scene.spec import SceneSpec


class SceneKind(Kind[SceneSpec]):
    name = "Scene"
    section = "scenes"
    summary = "A scene of OBS: sources, where they lie, filters and groups."
    spec = SceneSpec

    def check_spec(self, name: str, spec: SceneSpec) -> Iterable[Problem]:
        return check_scene(spec.title or name, spec)

    def check(self, resource: Resource[SceneSpec], context: Context) -> Iterable[Problem]:
        before = context.accepted(resource.address)
        known = files_among((s for s, _ in sources_of(before.spec)), before.base) if before is not None else ()
        for source, path in sources_of(resource.spec):
            yield from check_files(source, path, resource.base, known)

    def compile(self, resource: Resource[SceneSpec], context: Context) -> Compiled:
        content = ContentBuilder(
            key=resource.address.name,
            name=resource.spec.title or resource.address.name,
            base=resource.base.absolute(),
            scene=lambda name: context.exports(Address("Scene", name), SceneContent),
            display=lambda name: context.exports(Address("Display", name), XDisplay),
            device=lambda name: context.exports(Address("Audio", name), PulseDevice),
        ).build(resource.spec)
        return Compiled(exports=content)


KIND = SceneKind()
