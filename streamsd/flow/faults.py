"""What can be wrong with one message: a reason for the dead-letter sink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


class RowFault(Exception):
    """A message that a flow cannot take further. `reason` is kebab-case."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


ROW_ERRORS = (
    RowFault,
    msgspec.MsgspecError,
    ArithmeticError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""Everything that decoding and the compiled steps of one message can raise."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A message in the dead-letter sink. `raw`: its original bytes, or the row as JSON where a batch step made it."""

    reason: str
    message: str
    raw: bytes
    source: str = ""


def explain(fault: BaseException) -> tuple[str, str]:
    """(reason, message) of what ROW_ERRORS catches."""
    match fault:
        case RowFault():
            return fault.reason, str(fault)
        case msgspec.ValidationError():
            missing = str(fault).startswith("Object missing required field")
            return "missing-field" if missing else "wrong-type", str(fault)
        case msgspec.DecodeError() | UnicodeError():
            return "malformed", str(fault)
        case msgspec.MsgspecError():
            return "cannot-encode", str(fault)
        case ZeroDivisionError():
            return "division-by-zero", "division by zero"
        case OverflowError():
            return "out-of-range", str(fault)
        case KeyError():
            return "missing-field", f"no field {fault.args[0]!r}" if fault.args else "a field is missing"
        case IndexError():
            return "out-of-range", str(fault)
        case TypeError() | AttributeError():
            return "wrong-type", str(fault)
        case RecursionError():
            return "malformed", "nested too deep"
        case _:
            return "bad-value", str(fault)


def dead(fault: BaseException, raw: Any, source: str = "") -> Dead:
    """The dead letter of a message or row that raised `fault`."""
    # The traceback holds the loop's frame, that its list of faults, and that the fault: a whole batch would be kept
    # until the collector comes, which is seldom.
    fault.__traceback__ = fault.__context__ = fault.__cause__ = None
    reason, message = explain(fault)
    if not isinstance(raw, bytes):
        try:
            raw = msgspec.json.encode(raw)
        except (TypeError, ValueError, msgspec.MsgspecError):
            raw = repr(raw).encode(errors="replace")
    return Dead(reason, message[:500], raw, source)
