"""Programs of streamsd's own that a kind runs: what their reports tell, and the files that they take anew while they
run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamsd.core.kind import Finding
from streamsd.core.report import JsonValue, read_report
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.unit import File


@dataclass(frozen=True, slots=True)
class Told:
    """What a running program reports; it is about a second old. `findings`: what it says is wrong."""

    observed: Mapping[str, JsonValue]
    findings: tuple[Finding, ...]

    def some(self, names: Iterable[str]) -> dict[str, JsonValue]:
        """Of what it observed, these."""
        return {name: self.observed[name] for name in names if name in self.observed}


def told(report: Path, role: str, units: Mapping[str, ObservedUnit]) -> Told | None:
    """None while the program does not run, or has not reported."""
    unit = units.get(role)
    if unit is None or unit.state is not ProcessState.RUNNING:
        return None
    found = read_report(report)
    if found is None:
        return None
    findings: tuple[Finding, ...] = ()
    if found.degraded or not found.ready:
        findings = (Finding(found.reason or "NotReady", found.message or f"the {role} is not ready", role),)
    return Told(found.observed, findings)


def rewrite(file: File) -> None:
    """Replace a live file: what the program starts with the next time, and is asked to read now. OSError."""
    part = file.path.with_name(f".{file.path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(file.data())
    os.replace(part, file.path)
