"""An OBS hangs when two questions in a row had their whole time, and not when its director was held up."""

from __future__ import annotations

from pathlib import Path

from streamsd.programs.director.patience import Patience
from streamsd.programs.director.session import Movement

NOW = 5000.0


def test_one_unanswered_question_is_no_silence(tmp_path: Path) -> None:
    path = tmp_path / "complaint"
    patience = Patience(path, lambda: NOW)
    patience.silent(NOW - 1000.0, 10.0)
    assert not path.exists(), "it may be the director that was stopped for all that time"
    patience.answered()
    patience.silent(NOW - 1000.0, 10.0)
    assert not path.exists(), "an answer in between begins anew"
    patience.silent(NOW, 10.0)
    assert "OBS has not answered for 1000 s" in path.read_text()
    patience.answered()
    assert not path.exists()


def test_silence_counts_from_the_first_question(tmp_path: Path) -> None:
    path = tmp_path / "complaint"
    patience = Patience(path, lambda: NOW)
    for _ in range(4):
        patience.silent(NOW - 3.0, 10.0)
    assert not path.exists()
    patience.silent(NOW - 11.0, 10.0)
    assert path.exists()


def test_an_old_complaint_is_taken_back_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "complaint"
    path.write_text("of an earlier director")
    Patience(path)
    assert not path.exists()
    Patience(None).complain("of an OBS of somebody else's, which is not ours to end")


def test_a_figure_that_moves_does_not_stand_still() -> None:
    movement = Movement()
    found = []
    for figure, now in ((1, 10.0), (1, 13.0), (2, 50.0), (None, 60.0)):
        movement.read(figure, now)
        found.append(movement.still)
    assert found == [0.0, 3.0, 0.0, 0.0]
