"""Operators' commands: their names and arguments, and the director's questions that they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamsd.core.diagnostics import name_hint
from streamsd.core.kind import OperationFault
from streamsd.core.report import JsonValue
from streamsd.kinds.obs.held import PARAMETERS


@dataclass(frozen=True, slots=True)
class Operation:
    """`needs` and `takes`: arguments, each with the type it must have. `question`: what the director is asked."""

    question: Mapping[str, JsonValue]
    needs: Mapping[str, type] = ()  # type: ignore[assignment]  # an empty one
    takes: Mapping[str, type] = ()  # type: ignore[assignment]  # an empty one


OPERATIONS: Mapping[str, Operation] = {
    "scene-switch": Operation({"do": "switch"}, {"scene": str}),
    "collection-switch": Operation({"do": "collection"}, {"collection": str}, {"interrupt": bool}),
    "transition": Operation({"do": "transition"}),
    "stream-start": Operation({"do": "output", "name": "stream", "on": True}),
    "stream-stop": Operation({"do": "output", "name": "stream", "on": False}),
    "record-start": Operation({"do": "output", "name": "record", "on": True}),
    "record-stop": Operation({"do": "output", "name": "record", "on": False}),
    "record-pause": Operation({"do": "pause", "on": True}),
    "record-resume": Operation({"do": "pause", "on": False}),
    "source-show": Operation({"do": "show", "on": True}, {"scene": str, "source": str}),
    "source-hide": Operation({"do": "show", "on": False}, {"scene": str, "source": str}),
    "source-mute": Operation({"do": "mute", "on": True}, {"input": str}),
    "source-unmute": Operation({"do": "mute", "on": False}, {"input": str}),
    "screenshot": Operation({"do": "screenshot"}, {}, {"source": str, "format": str, "width": int, "height": int}),
    "replay-save": Operation({"do": "save-replay"}),
    "read": Operation({"do": "read", "parameters": [[section, name] for section, name in PARAMETERS]}),
    "status": Operation({"do": "status"}),
    "reset": Operation({"do": "reset"}),
}


CONFLICTS = frozenset(
    ("WouldInterrupt", "NotRecording", "NotPaused", "AlreadyPaused", "NoStudioMode", "NoReplayBuffer")
)
"""A director's refusals that mean: not as things are now."""


def question_of(operation: str, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What the director is to be asked. OperationFault for an unknown operation or argument."""
    known = OPERATIONS.get(operation)
    if known is None:
        raise OperationFault(f"Obs knows no operation {operation!r}", name_hint(operation, OPERATIONS, "known"))
    needs, takes = dict(known.needs), dict(known.takes)
    for name in needs:
        if name not in arguments:
            raise OperationFault(f"{operation} needs {name}")
    for name, value in arguments.items():
        wanted = needs.get(name) or takes.get(name)
        if wanted is None:
            raise OperationFault(f"{operation} takes no {name!r}", name_hint(name, [*needs, *takes], "it takes"))
        if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
            raise OperationFault(f"{operation}: {name} is to be of the type {wanted.__name__}")
    return {**known.question, **arguments}
