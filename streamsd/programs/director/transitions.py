"""Comparing transitions: the list of them, their settings, which one is current and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from streamsd.programs.director.changes import Change, Cost, Impossible, Phase
from streamsd.programs.director.client import Request
from streamsd.programs.director.model import FIXED_TRANSITIONS, Desired, Owned, Studio
from streamsd.programs.director.same import different_settings


class TransitionKinds(Protocol):
    transition_kinds: frozenset[str]


def transition_changes(
    desired: Desired, found: Studio, owned: Owned, knowledge: TransitionKinds, impossible: list[Impossible]
) -> Iterator[Change]:
    """OBS creates and removes transitions only by its collection's file; settings of one can be set, and read, only
    while it is the current one."""
    wanted = desired.studio.transitions
    reload = False
    for name, transition in wanted.items():
        about = f"transition {name}"
        if transition.kind not in knowledge.transition_kinds:
            known = ", ".join(sorted(knowledge.transition_kinds))
            message = f"this OBS has no {transition.kind}; it has: {known}"
            impossible.append(Impossible("UnknownTransitionKind", about, message))
            continue
        there = found.transitions.get(name)
        if there is None or there.kind != transition.kind:
            reload = True
            yield Change(Phase.TRANSITION, about, f"create ({transition.kind})", cost=Cost.COLLECTION_RELOAD)
            continue
        changed, extra = different_settings(transition.settings, there.settings, {})
        if changed or extra:
            requests = (
                Request("SetCurrentSceneTransition", {"transitionName": name}),
                Request.of(
                    "SetCurrentSceneTransitionSettings", transitionSettings=dict(transition.settings), overlay=False
                ),
                Request("SetCurrentSceneTransition", {"transitionName": found.transition}),
            )
            yield Change(Phase.TRANSITION, about, f"set {', '.join((*changed, *extra))}", requests)
    for name in found.transitions:
        if name not in wanted and (desired.prune or name in owned.transitions):
            reload = True
            yield Change(Phase.TRANSITION, f"transition {name}", "remove", cost=Cost.COLLECTION_RELOAD)
    if not reload:
        yield from _current(desired, found)


def _current(desired: Desired, found: Studio) -> Iterator[Change]:
    studio = desired.studio
    requests = []
    name = studio.transition
    if name is not None and name != found.transition and (name in FIXED_TRANSITIONS or name in found.transitions):
        requests.append(Request("SetCurrentSceneTransition", {"transitionName": name}))
    # Cut has no duration; what it reads back as is nothing.
    timed = (name or found.transition) != "Cut"
    if studio.transition_ms is not None and timed and studio.transition_ms != found.transition_ms:
        data = {"transitionDuration": studio.transition_ms}
        requests.append(Request("SetCurrentSceneTransitionDuration", data))
    if requests:
        words = f"{name or found.transition}, {studio.transition_ms} ms"
        yield Change(Phase.TRANSITION, "transition", words, tuple(requests))
