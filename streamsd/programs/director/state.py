"""What a director that starts anew must know: overrides, what earlier documents declared, and what sources write
into their settings themselves. One private file; one that cannot be read counts as none."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from streamsd.programs.director.model import Desired, Input, Owned, Scene, Studio
from streamsd.programs.director.overrides import Overrides


@dataclass(frozen=True, slots=True)
class State:
    """`declared`: every name that a document has declared and that has not been seen to be gone since."""

    overrides: Overrides = Overrides()
    declared: Owned = Owned()
    kept: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def declared_by(desired: Desired) -> Owned:
    studio = desired.studio
    owners: dict[str, Scene | Input] = {**studio.scenes, **studio.groups, **studio.inputs}
    return Owned(
        scenes=frozenset(studio.scenes),
        inputs=frozenset(studio.inputs),
        groups=frozenset(studio.groups),
        items=frozenset((name, item.source) for name, scene in studio.scenes.items() for item in scene.items),
        filters=frozenset((name, f.name) for name, owner in owners.items() for f in owner.filters),
        transitions=frozenset(studio.transitions),
        collections=desired.collections,
        special=frozenset(studio.special),
    )


def joined(a: Owned, b: Owned) -> Owned:
    return Owned(**{f.name: getattr(a, f.name) | getattr(b, f.name) for f in fields(Owned)})


def without(a: Owned, b: Owned) -> Owned:
    return Owned(**{f.name: getattr(a, f.name) - getattr(b, f.name) for f in fields(Owned)})


def still_there(owned: Owned, found: Studio) -> Owned:
    """Of these names, the ones that OBS has. Collections are gone once they were seen not to be declared."""
    owners: dict[str, Scene | Input] = {**found.scenes, **found.groups, **found.inputs}
    return Owned(
        scenes=owned.scenes & found.scenes.keys(),
        inputs=owned.inputs & found.inputs.keys(),
        groups=owned.groups & found.groups.keys(),
        items=owned.items & {(name, i.source) for name, scene in found.scenes.items() for i in scene.items},
        filters=owned.filters & {(name, f.name) for name, owner in owners.items() for f in owner.filters},
        transitions=owned.transitions & found.transitions.keys(),
        special=owned.special & found.special.keys(),
    )


def write_state(path: Path, state: State) -> None:
    """Replace the file, 0600. OSError when it cannot be."""
    data = {
        "overrides": state.overrides.to_json(),
        "declared": {f.name: sorted(getattr(state.declared, f.name)) for f in fields(Owned)},
        "kept": sorted(state.kept),
    }
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(data, out)
    os.replace(part, path)


def read_state(path: Path) -> State:
    try:
        data = json.loads(path.read_text())
        return State(
            overrides=Overrides.from_json(data["overrides"]),
            declared=Owned(**{f.name: _names(data["declared"][f.name]) for f in fields(Owned)}),
            kept=_names(data["kept"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return State()


def _names(rows: list[Any]) -> frozenset[Any]:
    return frozenset(tuple(row) if isinstance(row, list) else row for row in rows)
