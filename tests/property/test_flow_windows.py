"""Every window and join against an oracle that looks at one message at a time and keeps everything.

Input is drawn at random: out of order, with duplicates, late, over several partitions, cut into batches of any size,
replayed at any speed, and with the state written and read back in the middle.
"""

from __future__ import annotations

import json
import math
import random
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsd.flow.pipeline import Pipeline
from streamsd.flow.spec import FlowSpec

SCHEMA = {"k": "str", "t": "time_ms", "v": "int", "w": "float?"}
EMIT = {
    "n": "count()",
    "total": "sum(v)",
    "mean": "mean(v)",
    "low": "min(v)",
    "high": "max(v)",
    "dev": "stddev(v)",
    "q": "quantile(v, 0.9)",
    "aq": "approx_quantile(v, 0.5)",
    "first": "first(v)",
    "last": "last(v)",
    "kinds": "distinct(v)",
    "top": "top_k(v, 2)",
    "all": "collect(v, 1000)",
    "nw": "count(w)",
    "sw": "sum(w)",
    "span": "max(v) - min(v)",
}


@dataclass(frozen=True)
class Message:
    partition: int
    k: str
    t: int
    v: int
    w: float | None

    def raw(self) -> bytes:
        return json.dumps({"k": self.k, "t": self.t, "v": self.v, "w": self.w}).encode()


@dataclass(frozen=True)
class Case:
    """A drawn stream and how it is cut."""

    stream: list[Message]
    sizes: list[int]
    pause: int | None
    """Batches after which the state is written and read back."""


def draw(seed: int) -> Case:
    """Time goes on with the place in the stream, so that windows close in the middle and not only at the end."""
    rnd = random.Random(seed)
    step = rnd.choice([0, 2, 7, 20])
    spread = rnd.choice([1, 30, 120])
    keys = "abcd"[: rnd.randint(1, 4)]
    stream = [
        Message(
            partition=rnd.randint(0, 2),
            k=rnd.choice(keys),
            t=rnd.randrange(spread) + place * step,
            v=rnd.randint(-5, 60),
            w=rnd.choice([None, float(rnd.randint(0, 8))]),
        )
        for place in range(rnd.randint(0, 120))
    ]
    for _ in range(rnd.randint(0, 4)):
        if stream:
            stream.insert(rnd.randrange(len(stream)), rnd.choice(stream))
    return Case(stream, [rnd.randint(1, 30) for _ in range(5)], rnd.choice([None, 1, 2, 4]))


cases = st.integers(0, 2**32).map(draw)


def run(steps: list[dict[str, Any]], case: Case, partitions: int) -> tuple[list[dict[str, Any]], int]:
    """The results of a flow and its count of late messages."""
    spec = FlowSpec.model_validate(
        {"source": {"generator": {"fields": {"n": "n"}}}, "schema": SCHEMA, "steps": steps, "sink": {"discard": {}}}
    )
    pipeline = Pipeline(spec, Path())
    pipeline.front.expect("in", [str(p) for p in range(partitions)])
    stream, sizes, pause = case.stream, case.sizes, case.pause
    results: list[Any] = []
    place = batch = 0
    while place < len(stream):
        # A batch is of one partition: it ends where the partition changes, or where it is cut.
        size = sizes[batch % len(sizes)]
        part = stream[place].partition % partitions
        end = place
        while end < len(stream) and end - place < size and stream[end].partition % partitions == part:
            end += 1
        pipeline.feed("in", [m.raw() for m in stream[place:end]], now=10**6 + batch * size * 1000, partition=str(part))
        place, batch = end, batch + 1
        if pause is not None and batch % pause == 0:
            state = pipeline.state()
            late = pipeline.counts.late
            results += pipeline.results["out"]
            pipeline = Pipeline(spec, Path())
            pipeline.front.expect("in", [str(p) for p in range(partitions)])
            pipeline.restore(state)
            pipeline.counts.late = late
    pipeline.finish(now=2**40)
    assert pipeline.letters == []
    return [msgspec.to_builtins(row) for row in results + pipeline.results["out"]], pipeline.late


def aggregate(rows: list[Message]) -> dict[str, Any]:
    """What EMIT says of these messages, in order of arrival."""
    values = [m.v for m in rows]
    ordered = sorted(values)
    place = 0.9 * (len(ordered) - 1)
    below = ordered[math.floor(place)]
    above = ordered[min(math.floor(place) + 1, len(ordered) - 1)]
    weights = [m.w for m in rows if m.w is not None]
    earliest = min(m.t for m in rows)
    latest = max(m.t for m in rows)
    return {
        "n": len(rows),
        "total": sum(values),
        "mean": sum(values) / len(values),
        "low": min(values),
        "high": max(values),
        "dev": statistics.stdev(values) if len(values) > 1 else None,
        "q": below + (above - below) * (place - math.floor(place)),
        "aq": ordered[math.floor(0.5 * (len(ordered) - 1))],
        "first": next(m.v for m in rows if m.t == earliest),
        "last": [m.v for m in rows if m.t == latest][-1],
        "kinds": len(set(values)),
        "top": [c for _, c in Counter(values).most_common(2)],
        "all": sorted(values),
        "nw": len(weights),
        "sw": sum(weights) if weights else None,
        "span": max(values) - min(values),
    }


def compare(found: list[dict[str, Any]], wanted: dict[tuple[str, int, int], list[Message]]) -> None:
    by_window = {(row["k"], row["window_start"], row["window_end"]): row for row in found}
    assert len(by_window) == len(found), "a window came twice"
    assert set(by_window) == set(wanted)
    for window, rows in wanted.items():
        row, truth = by_window[window], aggregate(rows)
        for name, value in truth.items():
            said = row[name]
            if name == "top":
                said = [entry["count"] for entry in said]
            elif name == "all":
                said = sorted(said)
            if name == "aq":
                assert abs(said - value) <= abs(value) * 0.0101 + 1e-9, (window, name)
            elif isinstance(value, float):
                assert math.isclose(said, value, rel_tol=1e-9, abs_tol=1e-9), (window, name)
            else:
                assert said == value, (window, name)


class Watermark:
    """The least of the greatest times of all partitions."""

    def __init__(self, partitions: int) -> None:
        self.greatest = [-math.inf] * partitions

    def after(self, message: Message) -> float:
        part = message.partition % len(self.greatest)
        self.greatest[part] = max(self.greatest[part], message.t)
        return min(self.greatest)


def windows_of(
    stream: list[Message], size: int, every: int, lateness: int, partitions: int
) -> tuple[dict[Any, Any], int]:
    clock, late = Watermark(partitions), 0
    out: dict[tuple[str, int, int], list[Message]] = defaultdict(list)
    for message in stream:
        mark = clock.after(message)
        latest = message.t // every * every
        starts = [s for s in range(latest - size + every, latest + 1, every) if s <= message.t < s + size]
        open_ones = [s for s in starts if not s + size + lateness <= mark]
        late += not open_ones
        for start in open_ones:
            out[(message.k, start, start + size)].append(message)
    return dict(out), late


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cases,
    st.integers(1, 3),
    st.sampled_from([0, 15, 60]),
    st.sampled_from([(20, 20), (50, 50), (40, 10), (90, 30)]),
)
def test_tumbling_and_sliding_windows_equal_the_oracle(case, partitions, lateness, shape):
    size, every = shape
    kind = {"tumbling": size / 1000} if size == every else {"sliding": {"size": size / 1000, "every": every / 1000}}
    step = {"window": {**kind, "key": "k", "time": "t", "lateness": lateness / 1000, "emit": EMIT}}
    found, late = run([step], case, partitions)
    wanted, too_late = windows_of(case.stream, size, every, lateness, partitions)
    compare(found, wanted)
    assert late == too_late


def sessions_of(stream: list[Message], gap: int, lateness: int, partitions: int) -> tuple[dict[Any, Any], int]:
    clock, late = Watermark(partitions), 0
    opened: dict[str, list[list[tuple[int, Message]]]] = defaultdict(list)
    out: dict[tuple[str, int, int], list[Message]] = {}

    def close(key: str, session: list[tuple[int, Message]]) -> None:
        start, last = min(m.t for _, m in session), max(m.t for _, m in session)
        out[(key, start, last + gap)] = [m for _, m in session]

    for place, message in enumerate(stream):
        mark = clock.after(message)
        held = opened[message.k]
        for session in [s for s in held if max(m.t for _, m in s) + gap + lateness <= mark]:
            held.remove(session)
            close(message.k, session)
        near = [s for s in held if any(abs(m.t - message.t) < gap for _, m in s)]
        if not near and message.t + gap + lateness <= mark:
            late += 1
            continue
        for session in near:
            held.remove(session)
        # In order of arrival: what `first`, `last` and `collect` go by.
        arrived = sorted([*(pair for session in near for pair in session), (place, message)], key=lambda pair: pair[0])
        held.append(arrived)
    for key, held in opened.items():
        for session in held:
            close(key, session)
    return out, late


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cases,
    st.integers(1, 2),
    st.sampled_from([0, 30]),
    st.sampled_from([10, 40]),
)
def test_session_windows_equal_the_oracle(case, partitions, lateness, gap):
    step = {
        "window": {"session": {"gap": gap / 1000}, "key": "k", "time": "t", "lateness": lateness / 1000, "emit": EMIT}
    }
    found, late = run([step], case, partitions)
    wanted, too_late = sessions_of(case.stream, gap, lateness, partitions)
    compare(found, wanted)
    assert late == too_late


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cases,
    st.sampled_from([0, 25]),
    st.sampled_from([0, 20]),
    st.booleans(),
)
def test_joins_equal_the_oracle(case, within, lateness, outer):
    within, stream, sizes, pause = within or 1, case.stream, case.sizes, case.pause
    source = {"generator": {"fields": {"n": "n"}}, "schema": SCHEMA}
    spec = FlowSpec.model_validate(
        {
            "sources": {"a": source, "b": source},
            "steps": [
                {
                    "join": {
                        "left": "a",
                        "right": "b",
                        "on": "k",
                        "time": "t",
                        "within": within / 1000,
                        "lateness": lateness / 1000,
                        "unmatched": "left" if outer else "drop",
                        "emit": {"k": "left.k", "l": "left.v", "r": "coalesce(right.v, -99)" if outer else "right.v"},
                    }
                }
            ],
            "sink": {"discard": {}},
        }
    )
    pipeline = Pipeline(spec, Path())
    results: list[Any] = []
    place = batch = 0
    while place < len(stream):
        size = sizes[batch % len(sizes)]
        side = stream[place].partition % 2
        end = place
        while end < len(stream) and end - place < size and stream[end].partition % 2 == side:
            end += 1
        pipeline.feed("ab"[side], [m.raw() for m in stream[place:end]], now=10**6)
        place, batch = end, batch + 1
        if pause is not None and batch % pause == 0:
            state, late = pipeline.state(), pipeline.counts.late
            results += pipeline.results["out"]
            pipeline = Pipeline(spec, Path())
            pipeline.restore(state)
            pipeline.counts.late = late
    pipeline.finish(now=2**40)
    results += pipeline.results["out"]

    clock, kept, late = Watermark(2), ([], []), 0
    for message in stream:
        if message.t + lateness < clock.after(message):
            late += 1
        else:
            kept[message.partition % 2].append(message)
    wanted = Counter((a.k, a.v, b.v) for a in kept[0] for b in kept[1] if a.k == b.k and abs(a.t - b.t) <= within)
    if outer:
        lonely = [a for a in kept[0] if not any(a.k == b.k and abs(a.t - b.t) <= within for b in kept[1])]
        wanted += Counter((a.k, a.v, -99) for a in lonely)
    assert Counter((row.k, row.l, row.r) for row in results) == wanted
    assert pipeline.late == late
