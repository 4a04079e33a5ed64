"""The comparison: what to send so that what is becomes what is wanted. Pure; nothing is asked or sent here.

What cannot be said yet (the place of an item that does not exist) is left to the next round: a round creates, the next
one sets.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamsd.core.report import JsonValue
from streamsd.programs.director.changes import Change, Cost, Impossible, Phase
from streamsd.programs.director.client import Request
from streamsd.programs.director.edits import audio_requests, filter_request, moves_to, only, replacing
from streamsd.programs.director.model import Audio, Desired, Filter, Input, Item, Owned, Scene, Settings, Studio
from streamsd.programs.director.profile import profile_changes
from streamsd.programs.director.same import (
    different_settings,
    different_transform,
    offset_of,
    same_audio,
)
from streamsd.programs.director.transform import transform_data
from streamsd.programs.director.transitions import transition_changes


class Knowledge(Protocol):
    """What the comparison must know of the OBS at hand."""

    input_kinds: frozenset[str]
    transition_kinds: frozenset[str]

    def default(self, what: str, kind: str) -> Settings: ...


@dataclass
class Comparison:
    """`kept`: (kind, key) that a source writes into its settings itself. `has_files`: whether the collection's file
    can be edited (not for an OBS that somebody else runs)."""

    desired: Desired
    found: Studio
    knowledge: Knowledge
    owned: Owned = Owned()
    kept: frozenset[tuple[str, str]] = frozenset()
    has_files: bool = True
    impossible: list[Impossible] = field(default_factory=list)

    def changes(self) -> tuple[Change, ...]:
        """Everything that differs, in the order to send it. Fills `impossible`."""
        found = sorted(self._all(), key=lambda change: change.phase)
        if self.has_files:
            return tuple(found)
        for change in found:
            if change.cost is Cost.COLLECTION_RELOAD:
                self.impossible.append(
                    Impossible("NeedsCollectionFile", change.about, f"{change.words}: only OBS's own file can say it")
                )
        return tuple(change for change in found if change.cost is not Cost.COLLECTION_RELOAD)

    def _all(self) -> Iterator[Change]:
        self._unknown = self._unknown_inputs()
        self._going: set[tuple[str, int]] = set()
        yield from profile_changes(self.desired, self.found)
        yield from self._scenes()
        yield from self._special()
        yield from self._inputs()
        yield from self._groups()
        for name, scene in self.desired.studio.scenes.items():
            if name in self.found.scenes:
                yield from self._scene(name, scene, self.found.scenes[name])
        yield from transition_changes(self.desired, self.found, self.owned, self.knowledge, self.impossible)
        yield from self._program()
        yield from self._deletes()

    # ---- what there is ------------------------------------------------------------------------------------------

    def _unknown_inputs(self) -> frozenset[str]:
        unknown = set()
        for name, wanted in self.desired.studio.inputs.items():
            if wanted.kind not in self.knowledge.input_kinds:
                unknown.add(name)
                known = ", ".join(sorted(self.knowledge.input_kinds))
                self.impossible.append(
                    Impossible("UnknownInputKind", f"input {name}", f"this OBS has no {wanted.kind}; it has: {known}")
                )
        return frozenset(unknown)

    def _scenes(self) -> Iterator[Change]:
        wanted = self.desired.studio.scenes
        for name in wanted:
            if name in self.found.inputs or name in self.found.groups:
                self.impossible.append(
                    Impossible("NameTaken", f"scene {name}", "an input or group has that name; OBS has one namespace")
                )
            elif name not in self.found.scenes:
                yield Change(Phase.SCENE, f"scene {name}", "create", (Request("CreateScene", {"sceneName": name}),))
        order = [name for name in self.found.scenes if name in wanted]
        if len(order) == len(wanted) and order != list(wanted):
            yield Change(Phase.ORDER, "scene order", "rearrange", cost=Cost.COLLECTION_RELOAD, cosmetic=True)

    def _inputs(self) -> Iterator[Change]:
        home = {
            item.source: name
            for name, scene in reversed(list(self.desired.studio.scenes.items()))
            for item in scene.items
        }
        for name, wanted in self.desired.studio.inputs.items():
            if name in self._unknown:
                continue
            found = self.found.inputs.get(name)
            about = f"input {name}"
            if found is None:
                yield from self._create_input(name, wanted, home.get(name))
            elif found.kind != wanted.kind:
                yield self._replace_input(name, wanted, found)
            else:
                yield from self._settings(name, wanted, found)
                yield from self._audio(name, wanted, found)
                yield from self._filters(name, wanted.filters, found.filters, about)

    def _special(self) -> Iterator[Change]:
        """Inputs of every scene: only the collection's file makes and removes them."""
        wanted = self.desired.studio.special
        for place, name in wanted.items():
            if name not in self._unknown and self.found.special.get(place) != name:
                yield Change(Phase.INPUT, f"special input {place}", f"make it {name}", cost=Cost.COLLECTION_RELOAD)
        for place, name in self.found.special.items():
            if place not in wanted and place in self.owned.special:
                yield Change(Phase.INPUT, f"special input {place}", f"remove {name}", cost=Cost.COLLECTION_RELOAD)

    def _replace_input(self, name: str, wanted: Input, found: Input) -> Change:
        about, words = f"input {name}", f"replace {found.kind} by {wanted.kind}"
        special = name in self.desired.studio.special.values()
        if special or any(item.source == name for group in self.found.groups.values() for item in group.items):
            return Change(Phase.INPUT, about, words, cost=Cost.COLLECTION_RELOAD)
        return Change(Phase.INPUT, about, words, (*self._hide(name), Request.of("RemoveInput", inputName=name)))

    def _hide(self, name: str) -> Iterator[Request]:
        """Remove every item that shows a source which goes. A scene drops the items of removed sources only when it
        is drawn (libobs, update_transforms_and_prune_sources); one that is not on air keeps the source alive."""
        for scene, content in self.found.scenes.items():
            for item in content.items:
                if item.source == name and (scene, item.id) not in self._going:
                    self._going.add((scene, item.id))
                    yield Request.of("RemoveSceneItem", sceneName=scene, sceneItemId=item.id)

    def _create_input(self, name: str, wanted: Input, scene: str | None) -> Iterator[Change]:
        about = f"input {name}"
        if name in self.desired.studio.special.values():
            return
        if name in self.found.scenes or name in self.found.groups:
            if name not in self._goes():
                self.impossible.append(
                    Impossible("NameTaken", about, "a scene or group has that name; OBS has one namespace")
                )
            return
        if scene is None:
            yield Change(Phase.INPUT, about, "create (in a group only)", cost=Cost.COLLECTION_RELOAD)
            return
        data: dict[str, JsonValue] = {
            "sceneName": scene,
            "inputName": name,
            "inputKind": wanted.kind,
            "inputSettings": dict(wanted.settings),
            "sceneItemEnabled": False,
        }
        yield Change(Phase.INPUT, about, f"create ({wanted.kind})", (Request("CreateInput", data),))

    def _goes(self) -> set[str]:
        return {name for name in (*self.found.scenes, *self.found.groups) if self._unwanted_scene(name)}

    # ---- an input's own -----------------------------------------------------------------------------------------

    def _settings(self, name: str, wanted: Input, found: Input) -> Iterator[Change]:
        defaults = self.knowledge.default("input", wanted.kind)
        kept = {key for kind, key in self.kept if kind == wanted.kind}
        changed, extra = different_settings(wanted.settings, found.settings, defaults, kept)
        if changed or extra:
            settings = replacing(wanted.settings, found.settings, kept) if extra else only(wanted.settings, changed)
            request = Request.of("SetInputSettings", inputName=name, inputSettings=settings, overlay=not extra)
            words = f"set {', '.join((*changed, *extra))}"
            yield Change(Phase.SETTINGS, f"input {name}", words, (request,))

    def _audio(self, name: str, wanted: Input, found: Input) -> Iterator[Change]:
        if found.audio is None:
            if wanted.audio is not None and not same_audio(wanted.audio, Audio()):
                self.impossible.append(Impossible("NoAudio", f"input {name}", f"{wanted.kind} has no sound"))
            return
        audio = wanted.audio or Audio()
        if not same_audio(audio, found.audio):
            yield Change(Phase.AUDIO, f"input {name}", "set audio", tuple(audio_requests(name, audio, found.audio)))

    def _filters(self, source: str, wanted: Sequence[Filter], found: Sequence[Filter], about: str) -> Iterator[Change]:
        there = {f.name: f for f in found}
        names = {f.name for f in wanted}
        about_of = {name: f"{about}, filter {name}" for name in {*there, *names}}
        for f in found:
            if f.name not in names and (self.desired.prune or (source, f.name) in self.owned.filters):
                yield Change(
                    Phase.FILTER, about_of[f.name], "remove", (filter_request("RemoveSourceFilter", source, f.name),)
                )
        for f in wanted:
            known = there.get(f.name)
            if known is not None and known.kind == f.kind:
                yield from self._filter(source, f, known, about_of[f.name])
                continue
            requests = [filter_request("RemoveSourceFilter", source, f.name)] if known else []
            more: dict[str, JsonValue] = {"filterKind": f.kind, "filterSettings": dict(f.settings)}
            requests.append(filter_request("CreateSourceFilter", source, f.name, **more))
            if not f.enabled:
                requests.append(filter_request("SetSourceFilterEnabled", source, f.name, filterEnabled=False))
            yield Change(Phase.FILTER, about_of[f.name], f"create ({f.kind})", tuple(requests))
        order = [f.name for f in found if f.name in names]
        if len(order) == len(wanted) == len(found) and order != [f.name for f in wanted]:
            moves = [
                filter_request("SetSourceFilterIndex", source, name, filterIndex=to)
                for name, to in moves_to(order, [f.name for f in wanted])
            ]
            yield Change(Phase.FILTER, f"{about}, filters", "rearrange", tuple(moves))

    def _filter(self, source: str, wanted: Filter, found: Filter, about: str) -> Iterator[Change]:
        defaults = self.knowledge.default("filter", wanted.kind)
        kept = {key for kind, key in self.kept if kind == wanted.kind}
        changed, extra = different_settings(wanted.settings, found.settings, defaults, kept)
        if changed or extra:
            settings = replacing(wanted.settings, found.settings, kept) if extra else only(wanted.settings, changed)
            request = filter_request(
                "SetSourceFilterSettings", source, wanted.name, filterSettings=settings, overlay=not extra
            )
            yield Change(Phase.FILTER, about, f"set {', '.join((*changed, *extra))}", (request,))
        if wanted.enabled != found.enabled:
            request = filter_request("SetSourceFilterEnabled", source, wanted.name, filterEnabled=wanted.enabled)
            yield Change(Phase.FILTER, about, "enable" if wanted.enabled else "disable", (request,))

    # ---- scenes and groups --------------------------------------------------------------------------------------

    def _scene(self, name: str, wanted: Scene, found: Scene) -> Iterator[Change]:
        about = f"scene {name}"
        yield from self._filters(name, wanted.filters, found.filters, about)
        if (wanted.transition, wanted.transition_ms) != (found.transition, found.transition_ms):
            data = {
                "sceneName": name,
                "transitionName": wanted.transition,
                "transitionDuration": wanted.transition_ms,
            }
            request = Request("SetSceneSceneTransitionOverride", data)
            yield Change(Phase.TRANSITION, about, "set its transition", (request,))
        pairs, missing, extra = self._match(wanted.items, found.items)
        going = [item for item in extra if self.desired.prune or (name, item.source) in self.owned.items]
        for item in missing:
            yield from self._create_item(name, item)
        for item in going:
            if (name, item.id) in self._going:
                continue
            self._going.add((name, item.id))
            request = Request("RemoveSceneItem", {"sceneName": name, "sceneItemId": item.id})
            yield Change(Phase.DELETE, f"{about}, item {item.source}", "remove", (request,))
        for w, f in pairs:
            yield from self._item(name, about, w, f, self._group_shift(w.source))
        if not missing and not going:
            yield from self._order(name, about, [f for _, f in pairs], found.items)

    def _create_item(self, scene: str, item: Item) -> Iterator[Change]:
        about = f"scene {scene}, item {item.source}"
        if item.source in self.desired.studio.groups:
            yield Change(Phase.ITEM, about, "create (a group)", cost=Cost.COLLECTION_RELOAD)
            return
        there, wanted = self.found.inputs.get(item.source), self.desired.studio.inputs.get(item.source)
        replaced = there is not None and wanted is not None and there.kind != wanted.kind
        known = (there is not None and not replaced) or item.source in self.found.scenes
        coming = item.source in self.desired.studio.scenes and item.source not in self.found.scenes
        if item.source in self._unknown or not (known or coming):
            return  # its input is created first, which makes its first item too
        request = Request.of("CreateSceneItem", sceneName=scene, sourceName=item.source, sceneItemEnabled=False)
        yield Change(Phase.ITEM, about, "create", (request,))

    def _groups(self) -> Iterator[Change]:
        for name, wanted in self.desired.studio.groups.items():
            about = f"group {name}"
            found = self.found.groups.get(name)
            if found is None:
                if name in self.found.scenes or name in self.found.inputs:
                    self.impossible.append(
                        Impossible("NameTaken", about, "a scene or input has that name; OBS has one namespace")
                    )
                else:
                    yield Change(Phase.ITEM, about, "create", cost=Cost.COLLECTION_RELOAD)
                continue
            yield from self._filters(name, wanted.filters, found.filters, about)
            members = Counter(i.source for i in wanted.items if i.source not in self._unknown)
            if members != Counter(i.source for i in found.items):
                yield Change(Phase.ITEM, about, "set its members", cost=Cost.COLLECTION_RELOAD)
                continue
            pairs, _, _ = self._match(wanted.items, found.items)
            shift = self._group_shift(name)
            for w, f in pairs:
                yield from self._item(name, about, w, f, (-shift[0], -shift[1]))
            yield from self._order(name, about, [f for _, f in pairs], found.items)

    def _group_shift(self, name: str) -> tuple[float, float]:
        """How far OBS moved a group's origin to keep its children's box at 0, 0: what the group's own place is off
        by, and its children's the other way."""
        wanted, found = self.desired.studio.groups.get(name), self.found.groups.get(name)
        if wanted is None or found is None:
            return 0.0, 0.0
        pairs, missing, extra = self._match(wanted.items, found.items)
        if missing or extra:
            return 0.0, 0.0
        return offset_of([w.transform for w, _ in pairs], [f.transform for _, f in pairs]) or (0.0, 0.0)

    def _match(
        self, wanted: Sequence[Item], found: Sequence[Item]
    ) -> tuple[list[tuple[Item, Item]], list[Item], list[Item]]:
        """Pairs (wanted, found), wanted without a partner, found without one. The n-th showing of a source in a scene
        is the n-th one of it."""
        waiting: dict[str, list[Item]] = defaultdict(list)
        for item in found:
            waiting[item.source].append(item)
        pairs, missing = [], []
        for item in wanted:
            if waiting[item.source]:
                pairs.append((item, waiting[item.source].pop(0)))
            elif item.source not in self._unknown:
                missing.append(item)
        return pairs, missing, [item for rest in waiting.values() for item in rest]

    def _item(self, scene: str, about: str, wanted: Item, found: Item, shift: tuple[float, float]) -> Iterator[Change]:
        about = f"{about}, item {wanted.source}"
        target: dict[str, JsonValue] = {"sceneName": scene, "sceneItemId": found.id}
        place = wanted.transform
        if wanted.source in self.desired.studio.groups:
            place = place.carried(*shift)
        elif shift != (0.0, 0.0):
            place = place.moved(*shift)
        different = different_transform(place, found.transform)
        if different:
            data = target | {"sceneItemTransform": transform_data(place, different)}
            words = f"set {', '.join(different)}"
            yield Change(Phase.TRANSFORM, about, words, (Request("SetSceneItemTransform", data),))
        if wanted.locked != found.locked:
            request = Request("SetSceneItemLocked", target | {"sceneItemLocked": wanted.locked})
            yield Change(Phase.FLAGS, about, "lock" if wanted.locked else "unlock", (request,))
        if wanted.blend != found.blend:
            request = Request("SetSceneItemBlendMode", target | {"sceneItemBlendMode": wanted.blend})
            yield Change(Phase.FLAGS, about, f"set blend {wanted.blend}", (request,))
        if wanted.enabled != found.enabled:
            request = Request("SetSceneItemEnabled", target | {"sceneItemEnabled": wanted.enabled})
            yield Change(Phase.VISIBLE, about, "show" if wanted.enabled else "hide", (request,))

    def _order(self, scene: str, about: str, wanted: Sequence[Item], found: Sequence[Item]) -> Iterator[Change]:
        """Declared items in their order; undeclared ones keep their places among them."""
        declared = {item.id for item in wanted}
        coming = iter(wanted)
        target = [next(coming).id if item.id in declared else item.id for item in found]
        moves = moves_to([item.id for item in found], target)
        if moves:
            requests = tuple(
                Request("SetSceneItemIndex", {"sceneName": scene, "sceneItemId": id, "sceneItemIndex": to})
                for id, to in moves
            )
            yield Change(Phase.ORDER, about, "rearrange", requests)

    # ---- what is on air, and what goes --------------------------------------------------------------------------

    def _program(self) -> Iterator[Change]:
        studio, found = self.desired.studio, self.found
        wanted = studio.program
        if wanted is None and studio.scenes and self._unwanted_scene(found.program or ""):
            wanted = next(iter(studio.scenes))
        if wanted is not None and wanted != found.program:
            request = Request("SetCurrentProgramScene", {"sceneName": wanted})
            yield Change(Phase.PROGRAM, "program", f"switch to {wanted}", (request,))
        if studio.studio_mode is not None and studio.studio_mode != found.studio_mode:
            request = Request("SetStudioModeEnabled", {"studioModeEnabled": studio.studio_mode})
            words = "on" if studio.studio_mode else "off"
            yield Change(Phase.STUDIO_MODE, "studio mode", words, (request,))
        elif studio.preview is not None and found.studio_mode and studio.preview != found.preview:
            request = Request("SetCurrentPreviewScene", {"sceneName": studio.preview})
            yield Change(Phase.PROGRAM, "preview", f"switch to {studio.preview}", (request,))

    def _unwanted_scene(self, name: str) -> bool:
        studio = self.desired.studio
        if name in studio.scenes or name in studio.groups or not studio.scenes:
            return False
        return self.desired.prune or name in self.owned.scenes or name in self.owned.groups

    def _deletes(self) -> Iterator[Change]:
        studio = self.desired.studio
        for name in self.found.inputs:
            if name in studio.inputs or name in self.found.special.values():
                continue
            if self.desired.prune or name in self.owned.inputs:
                requests = (*self._hide(name), Request.of("RemoveInput", inputName=name))
                yield Change(Phase.DELETE, f"input {name}", "remove", requests)
        for name in self.found.scenes:
            # A scene that is on air goes in the next round, when the program has left it.
            if self._unwanted_scene(name) and name != self.found.program:
                requests = (*self._hide(name), Request.of("RemoveScene", sceneName=name))
                yield Change(Phase.DELETE, f"scene {name}", "remove", requests)
