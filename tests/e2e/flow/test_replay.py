"""A backlog replayed slower and quicker than it came: the same windows, the same messages late."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.flow.processes import Flow
from tests.e2e.flow.test_recovery import SCHEMA, WINDOW, found, windows

COUNT = 2000
"""A second of event time is a thousand messages."""


def backlog(path: Path) -> list[dict[str, Any]]:
    """Out of order by up to 150 ms, some twice, one in fifty more than a second late."""
    rnd = random.Random(7)
    rows = []
    for place in range(COUNT):
        late = 1200 if rnd.random() < 0.02 else 0
        row = {"key": f"k{rnd.randrange(8)}", "value": rnd.randrange(1000)}
        rows.append({**row, "ts": max(0, 1000 + place - rnd.randrange(150) - late)})
        if rnd.random() < 0.02:
            rows.append(rows[-1])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_a_backlog_gives_the_same_windows_at_a_third_and_at_ten_times_of_real_time(
    flow: Callable[..., Flow], tmp_path: Path
) -> None:
    rows = backlog(tmp_path / "in.ndjson")
    flows = [
        flow(
            {
                "source": {"file": {"path": str(tmp_path / "in.ndjson")}, "limit": {"messages": speed * 1000}},
                "schema": SCHEMA,
                "steps": [{"window": {**WINDOW, "lateness": "100ms"}}],
                "sink": {"file": {"path": "out.ndjson"}},
                "recovery": {"epoch": "200ms"},
            },
            f"speed-{speed}",
        )
        for speed in (0.3, 10)
    ]
    for one in flows:
        one.start()
    wanted, late = windows(rows, 100)
    assert late > 0, "a backlog without late messages shows nothing"
    for one in flows:
        observed = one.complete()
        assert found(one.lines("out.ndjson")) == wanted
        assert observed["late"] == late
        assert observed["sources"]["in"]["messages"] == len(rows)
