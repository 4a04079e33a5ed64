"""The relay's time goes on through every change of encoder."""

from __future__ import annotations

import itertools

import pytest

from streamsd.programs.relay.nut import StreamClass, StreamHeader
from streamsd.programs.relay.timeline import Timeline, Track, track

SOUND = StreamHeader(StreamClass.AUDIO, b"\xff\0\0\0", 1, 48_000, rate=48_000, channels=2)


def video(den: int) -> StreamHeader:
    return StreamHeader(StreamClass.VIDEO, b"H264", 1, den, width=320, height=240)


def play(lane: Track, first: int, step: int, count: int) -> list[float]:
    """Seconds at which `count` frames leave."""
    times = []
    for number in range(count):
        ticks = lane.place(first + number * step)
        lane.note(ticks)
        times.append(ticks / lane.header.den)
    return times


def test_it_begins_at_zero_whatever_the_encoder_counts_from() -> None:
    line, lane = Timeline(), track(video(30))
    line.splice([lane], [54_000], 100.0)
    assert play(lane, 54_000, 1, 3) == [0.0, 1 / 30, 2 / 30]


def test_a_new_encoder_goes_on_after_the_time_that_passed() -> None:
    line, first, second = Timeline(), track(video(30)), track(video(60))
    line.splice([first], [30], 100.0)
    ended = play(first, 30, 1, 30)[-1]
    line.splice([second], [7], 103.5)
    times = play(second, 7, 1, 3)
    assert times[0] == 3.5 > ended
    assert times[1] - times[0] == pytest.approx(1 / 60)


def test_a_new_encoder_never_goes_back_even_when_the_last_one_ran_ahead() -> None:
    line, first, second = Timeline(), track(video(30)), track(video(30))
    line.splice([first], [0], 100.0)
    ended = play(first, 0, 1, 90)[-1]
    line.splice([second], [0], 100.1)
    begins = play(second, 0, 1, 1)[0]
    assert 0 < begins - ended < 0.1


def test_sound_stays_with_the_picture_through_a_splice() -> None:
    line = Timeline()
    for now in (10.0, 20.0, 31.7):
        picture, sound = track(video(61_440)), track(SOUND)
        # one second, less AAC's priming of 1024 samples
        line.splice([picture, sound], [61_440, 48_000 - 1024], now)
        apart = picture.place(61_440) / picture.header.den - sound.place(48_000 - 1024) / sound.header.den
        assert abs(apart - 1024 / 48_000) < 1 / 48_000
        play(picture, 61_440, 2048, 10)
        play(sound, 46_976, 1024, 10)


def test_sound_keeps_its_sample_clock_exactly() -> None:
    line, sound = Timeline(), track(SOUND)
    line.splice([sound], [0], 5.0)
    places = [sound.place(n * 1024) for n in range(1000)]
    assert {b - a for a, b in itertools.pairwise(places)} == {1024}


def test_a_stream_that_comes_later_is_placed_as_the_others_are() -> None:
    line, picture, sound = Timeline(), track(video(30)), track(SOUND)
    line.splice([picture], [90], 5.0)
    line.join(sound)
    assert sound.place(3 * 48_000) / 48_000 == picture.place(90) / 90_000
