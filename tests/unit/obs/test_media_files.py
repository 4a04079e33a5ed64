"""What counts as a file that can be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamsd.programs.director.media_files import MediaFiles
from streamsd.programs.director.model import Input


@pytest.mark.parametrize(
    ("wanted", "is_missing"),
    [
        (lambda path: Input("image_source", {"file": path}), True),
        (lambda path: Input("ffmpeg_source", {"local_file": path}), True),
        (lambda path: Input("slideshow_v2", {"files": [{"value": path}]}), False),
    ],
    ids=["image", "media", "slideshow"],
)
def test_a_directory_in_place_of_a_file_is_told(tmp_path: Path, wanted, is_missing: bool) -> None:
    shown, files = tmp_path / "shown", MediaFiles()
    inputs = {"one": wanted(str(shown))}
    shown.write_text("")
    assert files.look(inputs) == []
    assert not files.findings

    shown.unlink()
    shown.mkdir()
    assert files.look(inputs) == []
    assert bool(files.findings) is is_missing

    shown.rmdir()
    files.look(inputs)
    shown.write_text("")
    assert [request.type for request in files.look(inputs)] == ["SetInputSettings"]
    assert not files.findings
