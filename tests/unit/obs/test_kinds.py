"""A declared kind of input in the version that an OBS has."""

from __future__ import annotations

from streamsd.programs.director.kinds import base, fitted, offered
from streamsd.programs.director.model import Input, Studio

OLD = {"xshm_input", "slideshow", "color_source_v3"}
NEW = {"xshm_input_v2", "slideshow_v2", "color_source_v3"}


def one(kind: str, kinds: set[str], **settings: object) -> tuple[str, dict[str, object]]:
    found = fitted(Studio({}, {"it": Input(kind, settings)}), kinds).inputs["it"]  # type: ignore[arg-type]  # any JSON
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
    assert one("slideshow_v2", OLD, playback_mode="once") == ("slideshow", {"loop": False, "randomize": False})
    assert one("xshm_input", NEW) == ("xshm_input_v2", {"screen": 0})
    assert one("xshm_input", OLD) == ("xshm_input", {})
