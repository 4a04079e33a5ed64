"""A declared kind of input in the version that an OBS has."""

from __future__ import annotations

import struct
from pathlib import Path

from streamsd.programs.director.kinds import base, fitted, offered
from streamsd.programs.director.model import Input, Studio

OLD = {"xshm_input", "slideshow", "color_source_v3"}
BETWEEN = {"xshm_input", "slideshow_v2", "color_source_v3"}
NEW = {"xshm_input_v2", "slideshow_v2", "color_source_v3"}


def one(kind: str, kinds: set[str], **settings: object) -> tuple[str, dict[str, object]]:
    known = {"slideshow_v2": {"playback_mode": "loop"} if "xshm_input_v2" in kinds else {"loop": True}}
    studio = Studio({}, {"it": Input(kind, settings)})  # type: ignore[arg-type]  # any JSON
    found = fitted(studio, kinds, lambda kind: known.get(kind, {})).inputs["it"]
    return found.kind, dict(found.settings)


def test_the_version_that_is_there_is_taken() -> None:
    assert offered("color_source_v3", NEW) == "color_source_v3"
    assert offered("xshm_input", NEW) == "xshm_input_v2"
    assert offered("xshm_input_v2", OLD) == "xshm_input"
    assert offered("it", {"it_v2", "it_v10"}) == "it_v10"
    assert offered("browser_source", NEW) == "browser_source", "what is not there is left to be refused"
    assert base("text_ft2_source_v2") == "text_ft2_source"
    assert base("my_vision") == "my_vision"


def test_what_it_plays_is_said_in_its_own_words() -> None:
    assert one("slideshow", NEW, loop=True, randomize=True) == ("slideshow_v2", {"playback_mode": "random"})
    assert one("slideshow", NEW, loop=False) == ("slideshow_v2", {"playback_mode": "once"})
    assert one("slideshow", NEW, files=[]) == ("slideshow_v2", {"files": [], "playback_mode": "loop"})
    assert one("slideshow", BETWEEN, loop=False) == ("slideshow_v2", {"loop": False})
    assert one("slideshow_v2", BETWEEN, playback_mode="random")[1] == {"loop": True, "randomize": True}
    assert one("slideshow_v2", NEW, playback_mode="once")[1] == {"playback_mode": "once"}
    assert one("slideshow_v2", OLD, playback_mode="once") == ("slideshow", {"loop": False, "randomize": False})
    assert one("slideshow", NEW, use_custom_size="4x3")[1]["use_custom_size"] == "4x3"
    assert one("xshm_input", NEW) == ("xshm_input_v2", {"screen": 0})
    assert one("xshm_input", OLD) == ("xshm_input", {})


def test_slides_are_as_large_as_the_largest_of_them_in_every_version(tmp_path: Path) -> None:
    for name, width, height in (("a.gif", 30, 20), ("b.gif", 10, 40)):
        (tmp_path / name).write_bytes(b"GIF89a" + struct.pack("<HH", width, height))
    files = [{"value": str(tmp_path / name)} for name in ("a.gif", "b.gif", "gone.gif")]
    assert one("slideshow", NEW, files=files)[1]["use_custom_size"] == "30x40"
    assert "use_custom_size" not in one("slideshow", OLD, files=files)[1]
    assert "use_custom_size" not in one("slideshow_v2", NEW, files=files)[1], "said as it is meant"
