"""From a scene's spec to its content, as instances take it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.core.report import JsonValue
from streamsd.drivers.obs.content import Json, SceneContent
from streamsd.drivers.obs.inputs import filter_of, input_of
from streamsd.drivers.obs.values import FITS, align_bits
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay
from streamsd.kinds.scene.spec import GroupSpec, ItemSpec, MemberSpec, SceneSpec


@dataclass
class ContentBuilder:
    """`scene`, `display`, `device`: what a referred resource exports, by its name."""

    key: str
    name: str
    base: Path
    scene: Callable[[str], SceneContent]
    display: Callable[[str], XDisplay]
    device: Callable[[str], PulseDevice]
    _inputs: dict[str, Json] = field(default_factory=dict)
    _groups: dict[str, Json] = field(default_factory=dict)
    _nested: list[SceneContent] = field(default_factory=list)
    _uses: set[str] = field(default_factory=set)
    _displays: list[XDisplay] = field(default_factory=list)
    _devices: list[PulseDevice] = field(default_factory=list)

    def build(self, spec: SceneSpec) -> SceneContent:
        """The scene's content. Items turn from top-first, as people write and OBS lists them, to bottom-up."""
        scene: Json = {
            "name": self.name,
            "items": [self._item(item) for item in reversed(spec.items)],
            "filters": [filter_of(f) for f in spec.filters],
        }
        if spec.transition is not None:
            duration = spec.transition.duration
            scene["transition"] = spec.transition.name
            scene["transition_ms"] = round(duration.seconds * 1000) if duration is not None else None
        return SceneContent(
            key=self.key,
            name=self.name,
            scene=scene,
            inputs=self._inputs,
            groups=self._groups,
            nested=tuple(self._nested),
            uses=frozenset(self._uses),
            displays=tuple(self._displays),
            devices=tuple(self._devices),
        )

    def _item(self, spec: ItemSpec) -> JsonValue:
        if spec.scene is not None:
            nested = self.scene(spec.scene)
            self._nested.append(nested)
            return {**_placed(spec), "source": nested.name}
        if spec.group is not None:
            self._groups[spec.source_name] = self._group(spec.group)
            if spec.filters:
                self._groups[spec.source_name]["filters"] = [filter_of(f) for f in spec.filters]
        else:
            self._source(spec)
        return _placed(spec)

    def _group(self, spec: GroupSpec) -> Json:
        items: Sequence[MemberSpec] = spec.items
        for item in items:
            self._source(item)
        return {"items": [_placed(item) for item in reversed(items)]}

    def _source(self, spec: ItemSpec | MemberSpec) -> None:
        if spec.source is not None:
            self._uses.add(spec.source)
            return
        self._inputs[spec.source_name] = input_of(spec, self.base, self._see_display, self._see_device)

    def _see_display(self, name: str) -> XDisplay:
        display = self.display(name)
        self._displays.append(display)
        return display

    def _see_device(self, name: str) -> PulseDevice:
        device = self.device(name)
        self._devices.append(device)
        return device


def _placed(spec: ItemSpec | MemberSpec) -> Json:
    scale = spec.scale if isinstance(spec.scale, list) else [spec.scale, spec.scale]
    transform: Json = {
        "x": float(spec.position[0]),
        "y": float(spec.position[1]),
        "scale_x": float(scale[0]),
        "scale_y": float(scale[1]),
        "rotation": float(spec.rotation),
        "alignment": align_bits(spec.align),
        "crop_left": spec.crop.left,
        "crop_right": spec.crop.right,
        "crop_top": spec.crop.top,
        "crop_bottom": spec.crop.bottom,
    }
    if spec.size is not None:
        transform |= {
            "bounds_type": FITS[spec.fit],
            "bounds_width": float(spec.size.width),
            "bounds_height": float(spec.size.height),
            "bounds_alignment": align_bits(spec.fit_align),
        }
    return {
        "source": spec.source_name,
        "enabled": spec.visible,
        "locked": spec.locked,
        "blend": f"OBS_BLEND_{spec.blend.upper()}",
        "transform": transform,
    }


def names_of(spec: SceneSpec) -> Iterable[tuple[str, tuple[str | int, ...]]]:
    """Every source that the scene defines itself, with the path of its item."""
    for index, item in enumerate(spec.items):
        if item.source is None and item.scene is None:
            yield item.source_name, ("items", index)
        if item.group is not None:
            for member_index, member in enumerate(item.group.items):
                if member.source is None:
                    yield member.source_name, ("items", index, "group", "items", member_index)
