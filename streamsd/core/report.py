"""The report: how a program of streamsd's own tells its state.

A JSON file, replaced atomically about once a second. The daemon only reads it, so the program goes on whether the
daemon lives or not. `beat` counts what the program is for (frames, rows, rounds) and moves on while it makes progress.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


@dataclass(frozen=True, slots=True)
class Report:
    """`reason` and `message` say what is wrong when `ready` is false or `degraded` is true."""

    ready: bool
    beat: int
    degraded: bool = False
    reason: str = ""
    message: str = ""
    observed: Mapping[str, JsonValue] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Replace the report. OSError when the directory is gone or full: the caller decides whether to go on."""
    text = json.dumps(
        {
            "ready": report.ready,
            "beat": report.beat,
            "degraded": report.degraded,
            "reason": report.reason,
            "message": report.message,
            "observed": dict(report.observed),
        }
    )
    part = path.with_name(f".{path.name}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as out:
        out.write(text)
    os.replace(part, path)


def read_report(path: Path) -> Report | None:
    """The newest report, or None where there is none that can be read."""
    try:
        data = json.loads(path.read_text())
        return Report(
            ready=bool(data["ready"]),
            beat=int(data["beat"]),
            degraded=bool(data.get("degraded", False)),
            reason=str(data.get("reason", "")),
            message=str(data.get("message", "")),
            observed=data.get("observed", {}),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
