"""What the ends of a flow promise and need, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from streamsd.flow import packages
from streamsd.flow.checks import check_delivery, check_processes
from streamsd.flow.packages import PACKAGES, missing_module, missing_package
from streamsd.flow.promises import delivery_of
from streamsd.flow.seals import Opener, Sealer
from streamsd.flow.spec import FlowSpec
from streamsd.flow.spec.seals import Seal, Sealed
from streamsd.flow.watermark import FAR, UNKNOWN, Clock

KAFKA = {"brokers": ["x:1"], "topics": ["t"]}
FILE = {"file": {"path": "out"}, "delivery": "exactly_once"}
JOIN = {"join": {"left": "a", "right": "b", "on": "k", "within": "1s", "emit": {"k": "left.k"}}}


def spec(**changes: Any) -> FlowSpec:
    return FlowSpec.model_validate({"sink": {"file": {"path": "out"}}, **changes})


def test_a_group_is_at_least_once_and_all_partitions_exactly_once() -> None:
    whole, shared = spec(source={"kafka": KAFKA}), spec(source={"kafka": {**KAFKA, "group": "g"}})
    assert delivery_of(whole, whole.all_sinks["out"]) == "exactly once"
    assert delivery_of(shared, shared.all_sinks["out"]) == "at least once"
    assert list(check_delivery(spec(source={"kafka": KAFKA}, sink=FILE))) == []
    (problem,) = check_delivery(spec(source={"kafka": {**KAFKA, "group": "g"}}, sink=FILE))
    assert problem.code == "flow-delivery"
    assert "kafka in a group" in problem.message
    assert "kafka without group" in problem.hint


def test_a_join_of_a_group_is_refused() -> None:
    sources = {"a": {"kafka": {**KAFKA, "group": "g"}}, "b": {"kafka": KAFKA}}
    (problem,) = check_delivery(spec(sources=sources, steps=[JOIN]))
    assert (problem.code, problem.path) == ("flow-group", ("sources", "a", "kafka", "group"))


def test_partitions_that_are_let_go_hold_nothing_back() -> None:
    clock = Clock()
    clock.expect(["in"])
    clock.replace("in", ["in/t/0", "in/t/1"])
    clock.move("in/t/0", 10)
    clock.move("in/t/1", 99)
    assert clock.watermark() == 10
    clock.replace("in", ["in/t/1"])
    clock.forget("in", ["in/t/1"])
    assert clock.watermark() == 99
    clock.forget("in", [])
    assert clock.tell() == (FAR, 99), "it holds nobody back, and knows how far it came"
    assert clock.watermark() == 99
    clock.replace("in", ["in/t/0"])
    assert clock.watermark() == UNKNOWN, "one that comes back may send anything"


@pytest.mark.parametrize("what", sorted(PACKAGES))
def test_what_is_missing_is_named_with_the_extra_that_brings_it(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = PACKAGES[what]
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda module: None)
    (problem,) = missing_package(what, ("source", what))
    assert problem.code == "module-missing"
    assert package.name in problem.message
    wanted = f"streamsd[{package.extra}]" if package.extra else "streamsd"
    assert problem.hint == f"pip install '{wanted}'"
    assert missing_module(ImportError("no", name=f"{package.module}.inner"), what).hint == problem.hint


def test_several_processes_are_refused_where_there_is_no_bytewax(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {"source": {"generator": {"fields": {"n": "n"}}}, "sink": {"discard": {}}}
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda module: None)
    (problem,) = check_processes(FlowSpec.model_validate({**ends, "processes": 2}))
    assert (problem.code, problem.path) == ("module-missing", ("processes",))
    assert "Python 3.11 or 3.12" in problem.hint
    assert not list(check_processes(FlowSpec.model_validate(ends)))


def test_an_import_that_fails_for_another_reason_says_which() -> None:
    assert "libfoo.so" in missing_module(ImportError("libfoo.so: cannot open", name=None), "kafka").message


def test_sealed_batches_stay_within_what_the_sink_takes() -> None:
    key = "ab" * 32
    seal = Seal.model_validate({"method": "blake2b", "key_id": "k", "key": key, "batch": 100})
    messages = [bytes([65 + i]) * 900 for i in range(20)]
    made = Sealer(seal, False, 4096 - 512).close_addressed([("topic", "key", message) for message in messages])
    assert all(len(one[-1]) + 3 + 100 < 4096 for one in made)
    assert len(made) == 7, "three each"
    opener = Opener(Sealed.model_validate({"method": "blake2b", "keys": {"k": key}}))
    assert [message for one in made for message in opener.open(one[-1])] == messages
