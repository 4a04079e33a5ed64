"""What is wrong with a flow beyond its steps: packages that are missing, promises that cannot be kept, state that does
not fit."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from streamsd.core.diagnostics import FieldPath, Problem
from streamsd.flow.layout import TOGETHER
from streamsd.flow.packages import BYTEWAX, missing_package
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.spec.sinks import EXACT, Sink
from streamsd.flow.spec.sources import REPLAYABLE
from streamsd.flow.spec.steps import Step

SHAPE_FILE = "shape.json"
"""In a generation's directory of the recovery store: the shape of its state."""
_RESET_FILE = "reset"
"""Beside it, when somebody has let that state go."""
_RESET_WITHIN = 3600.0
"""Seconds for which that holds."""


def end_path(spec: FlowSpec, what: str, name: str) -> FieldPath:
    """The path of a source or sink: `("source",)` or `("sources", name)`."""
    return (what,) if getattr(spec, what) is not None else (f"{what}s", name)


def check_ends(spec: FlowSpec, supervised: bool) -> Iterator[Problem]:
    """Problems of sources and sinks here. `supervised`: it runs under the daemon, without a terminal."""
    for name, source in spec.all_sources.items():
        path = end_path(spec, "source", name)
        yield from missing_package(source.transport, (*path, source.transport))
        if supervised and source.stdin is not None:
            yield Problem(
                "flow-source", "a supervised flow has no standard input", "use `streamsd flow run`", (*path, "stdin")
            )
    for name, sink in spec.all_sinks.items():
        path = end_path(spec, "sink", name)
        yield from missing_package(sink.transport, (*path, sink.transport))
        if sink.format == "parquet":
            yield from missing_package("parquet", (*path, "format"))
        if sink.obs is not None and not supervised:
            hint = "run it with `streamsd up`; `streamsd flow test` needs no daemon"
            yield Problem(
                "flow-sink", "an obs sink is for a flow under the daemon that runs the OBS", hint, (*path, "obs")
            )


_SENDERS: dict[str, tuple[str, ...]] = {
    "tcp": ("peer",),
    "udp": ("peer",),
    "http": ("peer",),
    "websocket": ("peer",),
    "grpc": ("peer",),
    "mqtt": ("topic",),
    "nats": ("topic",),
    "amqp": ("topic",),
    "kafka": ("topic", "key", "partition"),
    "streamsd": ("key",),
}
"""By what a source can tell its senders apart; the others cannot at all."""


def check_delivery(spec: FlowSpec) -> Iterator[Problem]:
    """Promises that cannot be kept."""
    for name, source in spec.all_sources.items():
        each = source.limit.each if source.limit else None
        known = _SENDERS.get(source.transport, ())
        if each is not None and each.by not in known:
            # All of them would share one allowance, and most of what they send would be left out.
            hint = f"write by: {' or '.join(known)}" if known else "leave `each` out"
            at = (*end_path(spec, "source", name), "limit", "each")
            yield Problem(
                "flow-limit", f"a source of {source.transport} does not tell the {each.by} of a message", hint, at
            )
        if source.kafka is not None and source.kafka.group is not None and any(s.does == "join" for s in spec.steps):
            # The partitions of two topics go to whoever: the partner may be with another member, and no pair is made.
            hint = "leave `group` out: all partitions are read here then"
            at = (*end_path(spec, "source", name), "kafka", "group")
            yield Problem("flow-group", "a join needs every message, and a group shares them with others", hint, at)
    for name, sink in spec.all_sinks.items():
        yield from _delivery(spec, sink, end_path(spec, "sink", name))


def check_processes(spec: FlowSpec) -> Iterator[Problem]:
    """Steps that would each see a part of what they must see all of; and what carries work between processes."""
    if spec.processes == 1:
        return
    if not BYTEWAX.there:
        version = ".".join(platform.python_version_tuple()[:2])
        yield Problem(
            "module-missing",
            f"several processes need Bytewax, which is not there for Python {version}",
            "leave `processes` out, or run streamsd with Python 3.11 or 3.12",
            ("processes",),
        )
    window = next((i for i, step in enumerate(spec.steps) if step.does in ("window", "join")), len(spec.steps))
    places: list[tuple[FieldPath, Step]] = [
        (("steps", place), step) for place, step in enumerate(spec.steps) if place > window
    ]
    for name, sink in spec.all_sinks.items():
        path = end_path(spec, "sink", name)
        places += [((*path, "steps", place), step) for place, step in enumerate(sink.steps)]
    for path, step in places:
        if step.does in TOGETHER:
            yield Problem(
                "flow-processes",
                f"of several processes each would have a {step.does} of its own here",
                "put it before the window, or into a flow of one process that takes these results",
                (*path, step.does),
            )


def _delivery(spec: FlowSpec, sink: Sink, path: FieldPath) -> Iterator[Problem]:
    if sink.delivery != "exactly_once":
        return
    where = (*path, "delivery")
    end = sink.sqlite or sink.postgres
    if sink.transport not in EXACT:
        names = ", ".join(sorted(EXACT - {"discard"}))
        yield Problem(
            "flow-delivery",
            f"a {sink.transport} sink cannot take back what it sent",
            f"exactly once: {names}; else write at_least_once",
            where,
        )
    for name, source in spec.all_sources.items():
        if not source.replayable and not (end and end.key):
            shared = " in a group" if source.kafka is not None else ""
            known = ", ".join(sorted(REPLAYABLE)) + (" without group" if shared else "")
            yield Problem(
                "flow-delivery",
                f"the source {name!r} ({source.transport}{shared}) cannot be read again from a position",
                f"sources that can: {known}; or give the table a key",
                where,
            )
    if not spec.recovery.enabled:
        yield Problem("flow-delivery", "exactly once needs recovery", "leave recovery.enabled out", where)


def check_state(spec: FlowSpec, shape: str, state: Path, reset: str) -> Iterator[Problem]:
    """Whether the state that is stored fits: a change of a window's shape would lose it in silence. `reset`: how it is
    let go, in words."""
    stored = state / f"generation-{spec.recovery.generation}" / SHAPE_FILE
    try:
        text = stored.read_text()
    except OSError:
        return
    if not fits(text, shape) and not may_reset(stored.parent):
        yield Problem(
            "flow-state-mismatch",
            f"{changed_words(text, shape)}: the state that is stored does not fit",
            f"to begin with an empty state: {reset}, or recovery.generation {spec.recovery.generation + 1}",
            ("steps",),
        )


def allow_reset(generation: Path) -> None:
    """The next start may begin with an empty state, should the one in this directory not fit it. OSError."""
    (generation / _RESET_FILE).touch(0o600)


def withdraw_reset(generation: Path) -> None:
    """Take that back. OSError."""
    (generation / _RESET_FILE).unlink(missing_ok=True)


def may_reset(generation: Path) -> bool:
    """Whether that was said within the last hour: a change that comes later was not what was meant."""
    try:
        return time.time() - (generation / _RESET_FILE).stat().st_mtime < _RESET_WITHIN
    except OSError:
        return False


def fits(stored: str, wanted: str) -> bool:
    """Whether state of one shape is of use to another: everything that is stored is still there; more may come."""
    try:
        old, new = json.loads(stored), json.loads(wanted)
        return all(entry in new for entry in old)
    except (ValueError, TypeError):
        return False


def changed_words(stored: str, wanted: str) -> str:
    """What differs between two shapes."""
    try:
        old, new = json.loads(stored), json.loads(wanted)
        names = sorted({str(e[0]) for e in old if e not in new})
    except (ValueError, TypeError, IndexError):
        names = []
    return f"{', '.join(names) or 'the order of steps with memory'} changed"
