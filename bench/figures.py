"""What the benchmarks share: medians, tables, JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number. `reach`: what it is to reach, in words; empty when it is only context."""

    name: str
    value: float
    unit: str
    reach: str = ""
    note: str = ""


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The 95th percentile by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-95 * len(ordered) // 100) - 1))]


def report(name: str, figures: Sequence[Figure], out: str | None) -> None:
    """A table on standard output, and JSON in a file when one is named (`-`: standard output too)."""
    load = os.getloadavg()[0]
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    print(f"{name}: {when}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}")
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        reach = f"  (reach {figure.reach})" if figure.reach else ""
        note = f"  {figure.note}" if figure.note else ""
        print(f"  {figure.name:<{width}}  {figure.value:10.2f} {figure.unit}{reach}{note}")
    if out:
        text = json.dumps(
            {"benchmark": name, "load": load, "figures": [asdict(figure) for figure in figures]}, indent=1
        )
        if out == "-":
            sys.stdout.write(text + "\n")
        else:
            Path(out).write_text(text + "\n")
