"""OBS's command line and configuration files, and the launcher's part in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.unit import File
from streamsd.drivers.obs.authority import authority_of
from streamsd.drivers.obs.catalog import FILTERS, INPUTS, base_of, newest
from streamsd.drivers.obs.render import Instance, argv, launch_document, start_document, version_of
from streamsd.programs.obs_launch.files import Launch, prepare
from streamsd.programs.obs_launch.ini import merged, read_ini
from streamsd.programs.obs_launch.window import cookies
from tests.unit.obs.context import display


def instance(home: Path, version: tuple[int, ...] = (29, 0, 2)) -> Instance:
    return Instance(Path("/usr/bin/obs"), version, home, 4460, "streamsd", "show", 48000, "Stereo")


@pytest.mark.parametrize(
    ("version", "flag"), [((29, 0, 2), False), ((30, 1, 0), True), ((31, 0, 0), True), ((32, 0, 0), False)]
)
def test_the_check_for_an_unclean_end_is_off_where_there_is_one(version: tuple[int, ...], flag: bool) -> None:
    assert ("--disable-shutdown-check" in argv(instance(Path("/x"), version))) is flag


def test_the_version_is_read_from_what_obs_prints() -> None:
    assert version_of("OBS Studio - 29.0.2.1-1+b1 (linux)") == (29, 0, 2)
    assert version_of("nonsense") == ()


def test_the_launcher_sets_its_keys_and_leaves_the_rest(tmp_path: Path) -> None:
    made = instance(tmp_path / "home")
    password = tmp_path / "password"
    password.write_text("geheim\n")
    text = launch_document(made, password, tmp_path / "complaint")
    assert "geheim" not in text
    document = tmp_path / "launch.json"
    document.write_text(text)
    start = tmp_path / "start.json"
    start.write_text(start_document(made))
    global_ini = made.config / "global.ini"
    global_ini.parent.mkdir(parents=True)
    global_ini.write_text("\ufeff[General]\nFirstRun=false\nName=kept\n\n[Other]\nA=b=c\n")
    prepare(Launch.read(document, start))
    ini = read_ini(global_ini.read_text())
    assert ini["General"]["FirstRun"] == "true"
    assert ini["General"]["Name"] == "kept"
    assert ini["Other"] == {"A": "b=c"}
    assert ini["OBSWebSocket"]["ServerPassword"] == "geheim"
    assert ini["Basic"]["SceneCollection"] == "show"
    newer: Any = json.loads((made.config / "plugin_config/obs-websocket/config.json").read_text())
    assert (newer["server_password"], newer["server_port"]) == ("geheim", 4460)
    for name in ("streamsd", "streamsd-park"):
        profile = read_ini((made.config / f"basic/profiles/{name}/basic.ini").read_text())
        assert profile["Audio"]["SampleRate"] == "48000"
    assert all(path.stat().st_mode & 0o077 == 0 for path in made.config.rglob("*") if path.is_file())
    park = made.scenes / "streamsd-park.json"
    assert len(json.loads(park.read_text())["sources"]) == 1
    park.write_text("{}")
    prepare(Launch.read(document))
    assert park.read_text() == "{}"


def test_an_ini_file_is_merged_into_itself() -> None:
    text = merged("", {"A": {"b": "c"}})
    assert merged(text, {"A": {"b": "c"}}) == text
    assert read_ini(text) == {"A": {"b": "c"}}


def test_each_display_has_its_own_cookie_in_one_file() -> None:
    file = authority_of(Path("/x"), [display(":7"), display(":101"), display(":7")])
    assert isinstance(file, File)
    assert file.live
    entries = list(cookies(file.data()))
    assert [number for number, _, _ in entries] == [b"7", b"101"]
    assert entries[0][1] == b"MIT-MAGIC-COOKIE-1"


def test_kinds_have_versions() -> None:
    assert base_of("color_source_v3") == "color_source"
    assert base_of("color_source") == "color_source"
    assert newest("color_source_v1", INPUTS) == "color_source_v3"
    assert newest("nothing", INPUTS) is None
    assert {"crop_filter", "gain_filter"} <= set(FILTERS)
