"""What operators changed by command during a show: laid over the desired document until it is reset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from streamsd.core.report import JsonValue
from streamsd.programs.director.model import Audio, Desired, Input, Item, Outputs, Scene

OUTPUTS = ("stream", "record", "replay_buffer", "virtual_camera")


@dataclass(frozen=True, slots=True)
class Overrides:
    """`collection`: the one that is loaded instead. `items`: visibility by (scene or group, source). `muted`: by input.
    `outputs`: by name, on or off."""

    collection: str | None = None
    program: str | None = None
    items: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    muted: Mapping[str, bool] = field(default_factory=dict)
    outputs: Mapping[str, bool] = field(default_factory=dict)

    def loaded(self, desired: Desired) -> Desired:
        """The document with the collection that the operator wants: its scenes, and all else as it is."""
        if self.collection is None or self.collection not in desired.others:
            return desired
        other = desired.others[self.collection]
        studio = replace(
            desired.studio,
            scenes=other.scenes,
            inputs=other.inputs,
            groups=other.groups,
            program=other.program,
            preview=other.preview,
        )
        return replace(desired, studio=studio, collection=self.collection)

    def over(self, desired: Desired) -> Desired:
        """The document as the operator wants it now. What it no longer declares is not overridden any more."""
        desired = self.loaded(desired)
        studio = desired.studio
        outputs = {name: self.outputs.get(name, getattr(desired.outputs, name)) for name in OUTPUTS}
        return replace(
            desired,
            outputs=Outputs(**outputs),
            studio=replace(
                studio,
                program=self.program if self.program in studio.scenes else studio.program,
                scenes={name: self._shown(name, scene) for name, scene in studio.scenes.items()},
                groups={name: self._shown(name, group) for name, group in studio.groups.items()},
                inputs={name: self._heard(name, found) for name, found in studio.inputs.items()},
            ),
        )

    def _shown(self, name: str, scene: Scene) -> Scene:
        if not any(owner == name for owner, _ in self.items):
            return scene

        def shown(item: Item) -> Item:
            return replace(item, enabled=self.items.get((name, item.source), item.enabled))

        return replace(scene, items=tuple(shown(item) for item in scene.items))

    def _heard(self, name: str, found: Input) -> Input:
        if name not in self.muted:
            return found
        return replace(found, audio=replace(found.audio or Audio(), muted=self.muted[name]))

    def needed(self, desired: Desired) -> Overrides:
        """Without those that say what the document says anyway."""
        collection = self.collection if self.collection in desired.others else None
        desired = replace(self, collection=collection).loaded(desired)
        studio = desired.studio
        owners = {**studio.scenes, **studio.groups}
        return Overrides(
            collection=collection,
            program=None if self.program == studio.program else self.program,
            items={
                (owner, source): on
                for (owner, source), on in self.items.items()
                if any(i.source == source and i.enabled != on for i in owners.get(owner, Scene()).items)
            },
            muted={
                name: on
                for name, on in self.muted.items()
                if name in studio.inputs and (studio.inputs[name].audio or Audio()).muted != on
            },
            outputs={name: on for name, on in self.outputs.items() if getattr(desired.outputs, name) != on},
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Only what is overridden: empty when nothing is."""
        told: dict[str, JsonValue] = {}
        if self.collection is not None:
            told["collection"] = self.collection
        if self.program is not None:
            told["program"] = self.program
        if self.items:
            told["items"] = [[owner, source, on] for (owner, source), on in sorted(self.items.items())]
        if self.muted:
            told["muted"] = dict(self.muted)
        if self.outputs:
            told["outputs"] = dict(self.outputs)
        return told

    @classmethod
    def from_json(cls, data: object) -> Overrides:
        """The reverse; ValueError for something else."""
        if not isinstance(data, dict):
            raise ValueError("not overrides")
        try:
            return cls(
                collection=data.get("collection"),
                program=data.get("program"),
                items={(str(owner), str(source)): bool(on) for owner, source, on in data.get("items", [])},
                muted={str(k): bool(v) for k, v in data.get("muted", {}).items()},
                outputs={str(k): bool(v) for k, v in data.get("outputs", {}).items() if k in OUTPUTS},
            )
        except (TypeError, AttributeError) as fault:
            raise ValueError("not overrides") from fault
