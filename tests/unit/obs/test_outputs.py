"""Outputs are started once, and not again while OBS is at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from streamsd.programs.director.changes import OutputName
from streamsd.programs.director.client import Answer, Client, Request
from streamsd.programs.director.model import Outputs
from streamsd.programs.director.outputs import STALL, STOPPED_LONG, STOPS, OutputKeeper

ON = Outputs(stream=True)


class Statuses:
    """Answers with what an OBS would say of its outputs; keeps what it was asked to do."""

    def __init__(self) -> None:
        self.stream: dict[str, Any] = {"outputActive": False, "outputBytes": 0}
        self.record: dict[str, Any] = {"outputActive": False}
        self.asked: list[str] = []

    def batch(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._answer(request.type) for request in requests]

    def _answer(self, type: str) -> Answer:
        match type:
            case "GetStreamStatus":
                return Answer(dict(self.stream), 100, "")
            case "GetRecordStatus":
                return Answer(dict(self.record), 100, "")
            case "GetReplayBufferStatus" | "GetVirtualCamStatus":
                return Answer({}, 604, "not available")
            case _:
                self.asked.append(type)
                return Answer({}, 100, "")


class Clock:
    """The monotonic clock of the keeper."""

    def __init__(self) -> None:
        self.now = 1000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def keeper(clock: Clock | None = None) -> tuple[Statuses, OutputKeeper]:
    statuses, time = Statuses(), clock or Clock()
    return statuses, OutputKeeper(cast("Client", statuses), monotonic=lambda: time.now)


def turn(kept: OutputKeeper, wanted: Outputs = ON) -> list[str]:
    kept.look()
    return [finding.reason for finding in kept.tend(wanted)]


def test_a_stream_that_connects_is_not_started_again() -> None:
    statuses, kept = keeper()
    assert turn(kept) == []
    kept.told(OutputName.STREAM, "OBS_WEBSOCKET_OUTPUT_STARTING")
    kept.fresh()
    turn(kept)
    assert statuses.asked == ["StartStream"]
    assert OutputName.STREAM in kept.active


def test_a_stream_that_failed_is_started_again_only_after_a_pause() -> None:
    statuses, kept = keeper()
    turn(kept)
    kept.told(OutputName.STREAM, "OBS_WEBSOCKET_OUTPUT_STOPPED")
    kept.fresh()
    turn(kept)
    assert statuses.asked == ["StartStream"]
    kept.outputs[OutputName.STREAM].last_start -= 60
    assert turn(kept) == []
    assert statuses.asked == ["StartStream", "StartStream"]


def test_failures_are_told_and_forgotten_when_bytes_move() -> None:
    statuses, kept = keeper()
    turn(kept)
    for _ in range(2):
        kept.told(OutputName.STREAM, "OBS_WEBSOCKET_OUTPUT_STOPPED")
        kept.outputs[OutputName.STREAM].last_start -= 60
        kept.outputs[OutputName.STREAM].next_try = 0.0
        findings = turn(kept)
    assert findings == ["OutputFailing"]
    statuses.stream = {"outputActive": True, "outputBytes": 0}
    assert turn(kept) == ["OutputConnecting"]
    statuses.stream = {"outputActive": True, "outputBytes": 1000}
    assert turn(kept) == []
    assert kept.outputs[OutputName.STREAM].tries == 0


def test_a_stream_that_stands_still_is_stopped_to_be_started_again() -> None:
    statuses, kept = keeper()
    statuses.stream = {"outputActive": True, "outputBytes": 1000}
    assert turn(kept) == []
    kept.outputs[OutputName.STREAM].moved -= 600
    assert turn(kept) == ["OutputStuck"]
    assert statuses.asked == ["StopStream"]


def test_what_is_not_wanted_is_stopped_and_what_is_not_declared_is_left() -> None:
    statuses, kept = keeper()
    statuses.stream = {"outputActive": True, "outputBytes": 1000}
    turn(kept, Outputs())
    assert statuses.asked == []
    turn(kept, Outputs(stream=False))
    assert statuses.asked == ["StopStream"]


def test_one_that_says_it_stopped_and_stays_active_takes_a_new_obs(clock: Clock) -> None:
    statuses, kept = keeper(clock)
    statuses.stream = {"outputActive": True, "outputBytes": 100}
    kept.told(OutputName.STREAM, "OBS_WEBSOCKET_OUTPUT_STARTED")
    turn(kept)
    kept.told(OutputName.STREAM, "OBS_WEBSOCKET_OUTPUT_STOPPED")
    clock.now += STOPPED_LONG - 1
    assert turn(kept) == []
    for attempt in range(1, STOPS + 1):
        assert kept.stuck == ""
        clock.now += STOPPED_LONG + 1
        assert turn(kept) == ["OutputStuck"]
        assert statuses.asked == ["StopStream"] * attempt
    assert kept.stuck == "the stream neither goes on nor ends"
    statuses.record = {"outputActive": True, "outputBytes": 1}
    turn(kept)
    assert kept.stuck == "", "a recording that goes on is not broken off"
    statuses.record = {"outputActive": False}
    statuses.stream = {"outputActive": False, "outputBytes": 0}
    turn(kept)
    assert kept.stuck == ""


def test_one_that_is_not_wanted_and_does_not_end_takes_a_new_obs(clock: Clock) -> None:
    statuses, kept = keeper(clock)
    statuses.stream = {"outputActive": True, "outputBytes": 100}
    for _ in range(STOPS):
        turn(kept, Outputs(stream=False))
        clock.now += STALL + 1
    turn(kept, Outputs(stream=False))
    assert kept.stuck


def test_an_output_that_the_host_has_not_is_told() -> None:
    _, kept = keeper()
    assert turn(kept, Outputs(virtual_camera=True)) == ["OutputUnavailable"]
