"""What became a dead letter lets its batch go: the collector, which comes seldom, is not needed for that."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from streamsd.flow.pipeline import Pipeline
from streamsd.flow.spec import FlowSpec


@pytest.mark.parametrize("bad", [b"nonsense", b'{"i": "x"}', b'{"i": 0}'], ids=["malformed", "type", "division"])
def test_a_batch_with_a_bad_message_is_let_go(bad: bytes) -> None:
    spec = {
        "source": {"generator": {"fields": {"n": "n"}}},
        "schema": {"i": "int"},
        "steps": [{"set": {"j": "100 / i"}}],
        "sink": {"discard": {}},
    }
    pipeline = Pipeline(FlowSpec.model_validate(spec), Path())
    batch = [*(b'{"i": %d}' % i for i in range(1, 100)), bad]

    def feed() -> int:
        for _ in range(50):
            pipeline.feed("in", batch)
            pipeline.letters.clear()
            pipeline.results["out"].clear()
        return len(gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = feed()
        assert feed() - before < 50
    finally:
        gc.enable()
