"""What is read from the end of a file that ffmpeg's -progress writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamsd.runtime.probes.answer import GRACE, Movement
from streamsd.runtime.probes.progress import Progress, parse, read_progress

BLOCK = b"""frame=%d
fps=29.97
stream_0_0_q=28.0
bitrate=4512.3kbits/s
total_size=1048576
out_time_us=4004000
out_time_ms=4004000
out_time=00:00:04.004000
dup_frames=1
drop_frames=2
speed=1.01x
progress=continue
"""


def test_the_last_whole_block_counts() -> None:
    data = BLOCK % 100 + BLOCK % 115 + (BLOCK % 130)[:-3]
    assert parse(data) == Progress(115, 29.97, 4512.3, 1048576, 4004000, 1, 2, 1.01)


def test_a_tail_that_begins_inside_a_block_is_read() -> None:
    assert parse((BLOCK % 100)[20:] + BLOCK % 115) == parse(BLOCK % 115)
    torn = parse((BLOCK % 100)[20:])
    assert torn is not None
    assert torn.bitrate_kbps == 4512.3


@pytest.mark.parametrize("tail", [b"", b"frame=1\n", b"\0\0\0\0", b"\xff\xfe\n", b"progress=conti"])
def test_what_holds_no_block_is_none(tail: bytes) -> None:
    assert parse(tail) is None


def test_not_available_is_none_and_the_end_is_told() -> None:
    found = parse(b"bitrate=N/A\ntotal_size=N/A\nout_time_us=N/A\nspeed=N/A\nprogress=end\n")
    assert found == Progress(ended=True)
    assert found.mark == 0
    assert found.observed() == {}


def test_sound_alone_is_marked_by_its_time_and_a_time_before_zero_is_none_yet() -> None:
    sound = parse(b"bitrate= 128.0kbits/s\nout_time_us=2000000\nspeed=   1x\nprogress=continue\n")
    assert sound is not None
    assert (sound.mark, sound.bitrate_kbps, sound.speed) == (2000000, 128.0, 1.0)
    assert Progress(out_time_us=-9223372036854775807).mark == 0


def test_only_the_end_of_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    with path.open("wb") as file:
        file.seek(1 << 32)  # months of it: a hole
        file.write(BLOCK % 100 + BLOCK % 115)
    assert read_progress(path) == parse(BLOCK % 115)
    assert read_progress(tmp_path / "none") is None


def test_what_moved_counts_as_moving_for_a_while() -> None:
    now = 100.0
    movement = Movement(lambda: now)
    assert movement.first
    assert movement.moves(1)
    assert not movement.first
    now += GRACE - 0.1
    assert movement.moves(1)
    now += 0.2
    assert not movement.moves(1)
    assert movement.still() == pytest.approx(GRACE + 0.1)
    assert movement.moves(2)
    now += GRACE + 1
    assert not movement.moves(2)
    assert movement.moves(1), "another mark is movement, a smaller one too: the file was begun anew"
