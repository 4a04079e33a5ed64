"""Flows that are ended after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow import certificates, kafka_broker
from tests.e2e.flow.certificates import Certificates
from tests.e2e.flow.processes import Flow
from tests.programs_needed import need_bytewax, need_module


@pytest.fixture(params=["bytewax", "own-loop"])
def each_driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once on Bytewax, and once without."""
    if request.param == "bytewax":
        need_bytewax()
    monkeypatch.setattr(Flow, "own_loop", request.param == "own-loop")


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    """Make a flow: `flow(spec)`, `flow(spec, "another")`."""
    made: list[Flow] = []

    def make(spec: dict[str, Any], name: str = "flow") -> Flow:
        made.append(Flow(tmp_path / name, spec))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, made: Certificates) -> Iterator[kafka_broker.Kafka]:
    need_module("confluent_kafka")
    with kafka_broker.kafka(tmp_path_factory.mktemp("kafka"), made) as broker:
        yield broker
