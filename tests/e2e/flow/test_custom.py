"""Steps of the operator's own, in a flow that runs."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.flow.processes import until


def test_a_function_that_does_not_return_is_named_and_the_flow_goes_on_when_it_does(flow, tmp_path: Path):
    spec = {
        "source": {"generator": {"fields": {"i": "n"}, "count": 100}},
        "steps": [{"custom": {"file": "mine.py", "function": "waits"}}],
        "sink": {"file": {"path": "out.ndjson"}},
    }
    one = flow(spec)
    (one.directory / "mine.py").write_text(
        "import pathlib, time\n"
        "def waits(rows):\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists():\n"
        "        time.sleep(0.01)\n"
        "    return rows\n"
    )
    one.start()

    def trouble() -> str:
        report = one.report()
        return f"{report.reason}: {report.message}" if report is not None and report.degraded else ""

    told = until(trouble, "what holds it up")
    assert told.startswith("StepStalled: waits of mine.py has not returned for ")
    (tmp_path / "go").touch()
    one.complete()
    assert len(one.lines("out.ndjson")) == 100
