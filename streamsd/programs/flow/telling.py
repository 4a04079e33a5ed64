"""What a flow's processes tell: events as lines, and reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from streamsd.core.report import Report, write_report

_tag: dict[str, object] = {}


def number_log(process: int) -> None:
    """From now on each line tells which process it is from."""
    _tag["process"] = process


def log(event: str, **fields: object) -> None:
    """One JSON object a line, on the standard error: the standard output may be a sink."""
    print(json.dumps({"event": event, **_tag, **fields}, default=str), file=sys.stderr, flush=True)


def publish(path: Path, report: Report) -> None:
    """Write a report. One that cannot be written is no reason to end what runs."""
    try:
        write_report(path, report)
    except OSError as fault:
        log("report-failed", message=str(fault))
