"""What a release of OBS calls what is declared."""

from __future__ import annotations

from streamsd.programs.director.releases import in_its_words

OLD, NEW, OTHER = ("SimpleOutput", "RecFormat"), ("SimpleOutput", "RecFormat2"), ("SimpleOutput", "RecQuality")


def test_the_container_of_recordings_is_set_under_the_name_that_the_release_has() -> None:
    for declared in (OLD, NEW):
        parameters = {declared: "mkv", OTHER: "Stream"}
        assert in_its_words(parameters, (29, 0, 2)) == {OLD: "mkv", OTHER: "Stream"}
        assert in_its_words(parameters, (30, 2, 3)) == {NEW: "mkv", OTHER: "Stream"}
        assert in_its_words(parameters, ()) == parameters, "of an OBS that does not say its version"
    assert in_its_words({OLD: "flv", NEW: "mkv"}, (32, 0, 0)) == {OLD: "flv", NEW: "mkv"}, "both are declared"
