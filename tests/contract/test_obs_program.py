"""OBS itself, held to what is declared: from an empty directory, by another reader's eyes, and after a crash."""

from __future__ import annotations

import base64
import copy
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from Xlib.display import Display

from streamsd.drivers.obs.collection_file import studio_of
from streamsd.programs.director.client import Client, NoAnswer, Wedged
from streamsd.programs.director.collection import CollectionFile
from streamsd.programs.director.inventory import plain
from streamsd.programs.director.journal import Journal
from streamsd.programs.director.model import Owned
from streamsd.programs.director.parse import parse_desired
from streamsd.programs.director.reconcile import Outcome, Reconciler
from streamsd.programs.director.session import Session
from tests.contract.obs_documents import VIDEO, color, document, item, show
from tests.contract.obs_rig import Studio, studio, until, xvfb
from tests.unit.obs.imported import profile_of

NOTHING = Owned()


@pytest.fixture(scope="module")
def obs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("obs")) as made:
        yield made


@pytest.fixture
def client(obs: Studio) -> Iterator[Client]:
    client = obs.connect()
    if obs.may_wedge:
        try:
            client.call("GetVersion", within=5.0)
        except NoAnswer:  # the test before has been skipped for it
            obs.renew()
            client = obs.connect()
    yield client
    client.close()


@pytest.fixture
def reconciler(obs: Studio, client: Client) -> Reconciler:
    return obs.reconciler(client)


def converge(reconciler: Reconciler, doc: dict[str, Any], owned: Owned = NOTHING) -> Outcome:
    try:
        outcome = reconciler.converge(parse_desired(doc), owned, within=60.0)
    except Wedged as fault:  # a director would have it started anew: tests/e2e/obs
        pytest.skip(str(fault))
    assert outcome.converged, (outcome.refused, outcome.held)
    return outcome


def test_it_starts_from_an_empty_directory_with_no_dialog_and_listens_itself(obs: Studio, client: Client) -> None:
    assert client.call("GetVersion")["obsVersion"]
    assert _listener(obs.port) == obs.obs_pid
    if "not held on loopback" not in obs.log.read_text():
        # 127.0.0.1, mapped into IPv6, as /proc/net/tcp6 writes it
        assert [address for address, _ in _listeners(obs.port)] == ["0000000000000000FFFF00000100007F"]
    display = Display(obs.display)
    try:
        shown = [
            window.get_wm_name()
            for window in display.screen().root.query_tree().children
            if window.get_attributes().map_state == 2 and window.get_wm_name()
        ]
    finally:
        display.close()
    assert [name for name in shown if not str(name).startswith("OBS ")] == []
    assert not any(obs.password in name for name in _command_lines())


def test_what_another_reader_sees_is_what_is_declared(obs: Studio, client: Client, reconciler: Reconciler) -> None:
    converge(reconciler, show())
    other = obs.connect()
    try:
        _same_as_declared(other)
        image = _picture(other)
    finally:
        other.close()
    assert _near(image.at(20, 300), (0x33, 0x33, 0x33))
    assert _near(image.at(220, 120), (0, 255, 0))
    assert _near(image.at(280, 140), (0, 0, 255))


def _same_as_declared(client: Client) -> None:
    doc = show()
    listed = client.call("GetSceneList")
    assert [s["sceneName"] for s in reversed(listed["scenes"])] == ["main", "inner", "pause"]
    assert listed["currentProgramSceneName"] == "main"
    inputs = {i["inputName"]: i["inputKind"] for i in client.call("GetInputList")["inputs"]}
    assert inputs == {name: spec["kind"] for name, spec in doc["inputs"].items()}
    for scene in doc["scenes"]:
        rows = client.call("GetSceneItemList", {"sceneName": scene["name"]})["sceneItems"]
        assert [r["sourceName"] for r in rows] == [i["source"] for i in scene["items"]]
    rows: Any = client.call("GetSceneItemList", {"sceneName": "main"})["sceneItems"]
    assert rows[2]["sceneItemBlendMode"] == "OBS_BLEND_ADDITIVE"
    assert rows[3]["sceneItemLocked"] is True
    assert rows[3]["sceneItemTransform"]["rotation"] == pytest.approx(10.0)
    assert client.call("GetGroupList")["groups"] == ["pair"]
    members: Any = client.call("GetGroupSceneItemList", {"sceneName": "pair"})["sceneItems"]
    assert [m["sourceName"] for m in members] == ["green", "blue"]
    filters: Any = client.call("GetSourceFilterList", {"sourceName": "red"})["filters"]
    assert [(f["filterName"], f["filterEnabled"]) for f in filters] == [("crop", False), ("cc", True)]
    assert client.call("GetInputVolume", {"inputName": "sound"})["inputVolumeDb"] == pytest.approx(-6.0, abs=0.01)
    assert client.call("GetInputMute", {"inputName": "sound"})["inputMuted"] is True
    assert client.call("GetInputAudioSyncOffset", {"inputName": "sound"})["inputAudioSyncOffset"] == 120
    override = client.call("GetSceneSceneTransitionOverride", {"sceneName": "inner"})
    assert override == {"transitionName": "sweep", "transitionDuration": 700}
    video = client.call("GetVideoSettings")
    assert (video["baseWidth"], video["outputHeight"], video["fpsNumerator"]) == (640, 180, 30)
    rate = {"parameterCategory": "SimpleOutput", "parameterName": "VBitrate"}
    assert client.call("GetProfileParameter", rate)["parameterValue"] == "900"


def test_a_second_time_nothing_is_sent(reconciler: Reconciler) -> None:
    converge(reconciler, show())
    again = converge(reconciler, show())
    assert (again.mutating, again.rounds) == (0, 1)


@pytest.mark.slow
def test_a_large_collection_is_made_and_read_back_without_a_request(reconciler: Reconciler) -> None:
    scenes = [{"name": f"s{n}", "items": [item(f"s{n}-{i}", x=float(i)) for i in range(10)]} for n in range(50)]
    inputs = {i["source"]: color(0xFF0000FF, 20, 20) for scene in scenes for i in scene["items"]}
    large = document(scenes=scenes, inputs=inputs, program="s0", video=VIDEO)
    assert len(converge(reconciler, large).found.inputs) >= 500
    again = converge(reconciler, large)
    assert (again.mutating, again.rounds) == (0, 1)


def test_drift_made_from_outside_is_repaired(obs: Studio, reconciler: Reconciler) -> None:
    converge(reconciler, show())
    other = obs.connect()
    try:
        main: Any = other.call("GetSceneItemList", {"sceneName": "main"})["sceneItems"]
        ids = {row["sourceName"]: row["sceneItemId"] for row in main}
        place = {"sceneName": "main", "sceneItemId": ids["title"]}
        settings = {"inputName": "bg", "inputSettings": {"color": 0xFF00FFFF}}
        filter_ = {"sourceName": "red", "filterName": "cc"}
        other.call("SetInputSettings", settings)
        other.call("SetSourceFilterSettings", {**filter_, "filterSettings": {"brightness": 0.9, "gamma": 1.0}})
        other.call("SetSourceFilterIndex", {**filter_, "filterIndex": 0})
        other.call("SetSceneItemTransform", {**place, "sceneItemTransform": {"positionX": 300.0}})
        other.call("SetSceneItemIndex", {**place, "sceneItemIndex": 0})
        other.call("SetInputMute", {"inputName": "sound", "inputMuted": False})
        other.call("SetSceneItemEnabled", {"sceneName": "main", "sceneItemId": ids["inner"], "sceneItemEnabled": False})
        other.call("SetInputName", {"inputName": "green", "newInputName": "renamed"})
        other.call("RemoveSceneItem", {"sceneName": "main", "sceneItemId": ids["bg"]})
        other.call("CreateInput", {"sceneName": "pause", "inputName": "extra", "inputKind": "color_source_v3"})
        other.call("SetCurrentProgramScene", {"sceneName": "pause"})
        converge(reconciler, show())
        _same_as_declared(other)
        assert converge(reconciler, show()).mutating == 0
    finally:
        other.close()


def test_what_is_not_declared_stays_without_prune_and_what_was_goes(client: Client, reconciler: Reconciler) -> None:
    before = show(prune=False)
    converge(reconciler, before)
    client.call("CreateInput", {"sceneName": "pause", "inputName": "guest", "inputKind": "color_source_v3"})
    converge(reconciler, before)
    after = copy.deepcopy(before)
    after["scenes"][0]["items"] = [i for i in after["scenes"][0]["items"] if i["source"] != "title"]
    del after["inputs"]["title"]
    converge(reconciler, after, Owned(inputs=frozenset({"title"}), items=frozenset({("main", "title")})))
    names = {i["inputName"] for i in client.call("GetInputList")["inputs"]}
    assert "guest" in names
    assert "title" not in names
    converge(reconciler, show())


def test_groups_transitions_and_order_follow_an_edit(client: Client, reconciler: Reconciler) -> None:
    converge(reconciler, show())
    edited = show()
    edited["scenes"].reverse()
    edited["groups"]["pair"]["items"].append(item("red", x=5.0, y=60.0))
    edited["transitions"] = {"slide": {"kind": "slide_transition", "settings": {"direction": "left"}}}
    edited["scenes"][1]["transition"] = "slide"
    edited["transition"] = "slide"
    converge(reconciler, edited)
    assert [s["sceneName"] for s in client.call("GetSceneList")["scenes"]] == ["main", "inner", "pause"]
    members: Any = client.call("GetGroupSceneItemList", {"sceneName": "pair"})["sceneItems"]
    assert [m["sourceName"] for m in members] == ["green", "blue", "red"]
    assert client.call("GetCurrentSceneTransition")["transitionName"] == "slide"
    assert converge(reconciler, edited).mutating == 0
    converge(reconciler, show())


def test_a_kind_changed_under_the_same_name_is_replaced(client: Client, reconciler: Reconciler) -> None:
    converge(reconciler, document(scenes=[{"name": "main", "items": [item("x")]}], inputs={"x": color(0xFF0000FF)}))
    text = {"kind": "text_ft2_source_v2", "settings": {"text": "now a text"}}
    converge(reconciler, document(scenes=[{"name": "main", "items": [item("x")]}], inputs={"x": text}))
    assert client.call("GetInputSettings", {"inputName": "x"})["inputKind"] == "text_ft2_source_v2"


def test_a_captured_display_that_starts_anew_is_seen_again(obs: Studio, client: Client) -> None:
    # what the tests before have left goes too, and some of that only by the file
    session = Session(client, CollectionFile(obs.instance.scenes), frozenset(), Journal(), is_local=True)

    def doc(server: str) -> dict[str, Any]:
        settings = {"advanced": True, "server": server, "screen": 0}
        screen = {"kind": "xshm_input", "settings": settings}
        items = [item("screen", bounds_type="OBS_BOUNDS_STRETCH", bounds_width=640.0, bounds_height=360.0)]
        scenes = [{"name": "main", "items": items}]
        return document(scenes=scenes, inputs={"screen": screen}, program="main", video=VIDEO)

    with xvfb("-wr") as (server, _):
        desired = parse_desired(doc(server))
        assert session.converge(desired, NOTHING).converged
        session.tend(desired)
        until(lambda: _near(_shot(client).at(20, 300), (255, 255, 255)), "the white display is seen")
    session.tend(desired)
    with xvfb(server):

        def seen() -> bool:
            session.tend(desired)
            return _near(_shot(client).at(20, 300), (0, 0, 0))

        until(seen, "the new display, a black one, is seen")


def test_what_obs_does_not_take_is_said_and_does_not_stop_the_rest(reconciler: Reconciler) -> None:
    gain = {"name": "gain", "kind": "gain_filter", "settings": {}, "enabled": True}
    doc = document(
        scenes=[{"name": "main", "items": [item("a"), item("b"), item("c")]}],
        inputs={
            "a": color(0xFF0000FF, filters=[gain]),
            "b": {"kind": "no_such_source", "settings": {}},
            "c": color(0xFF00FF00),
        },
    )
    outcome = reconciler.converge(parse_desired(doc), Owned())
    assert {(f.reason, f.about) for f in outcome.refused} == {
        ("UnknownInputKind", "input b"),
        ("DidNotTake", "input a, filter gain"),
    }
    assert set(outcome.found.inputs) == {"a", "c"}


def test_a_stop_saves_what_a_kill_does_not_and_both_come_back_as_declared(obs: Studio) -> None:
    client = obs.connect()
    reconciler = obs.reconciler(client)
    found = converge(reconciler, show()).found
    client.close()
    assert obs.stop() == 0
    # what OBS wrote when it ended, imported, is what it held
    written = json.loads((obs.instance.scenes / "streamsd.json").read_text())
    live = profile_of({**plain(found), "video": None}, "studio")  # type: ignore[dict-item]  # a mapping
    assert profile_of(studio_of(written), "studio") == live
    obs.start()
    client = obs.connect()
    again = converge(obs.reconciler(client), show())
    assert again.mutating == 0, again.changed
    edited = show()
    edited["inputs"]["bg"]["settings"]["color"] = 0xFF112233
    edited["scenes"][0]["items"][3]["transform"]["x"] = 99.0
    converge(obs.reconciler(client), edited)
    pid = obs.obs_pid
    os.kill(pid, signal.SIGKILL)
    client.close()
    assert obs.launcher is not None
    assert obs.launcher.wait(60) == 128 + signal.SIGKILL
    obs.start()
    client = obs.connect()
    try:
        converge(obs.reconciler(client), edited)
        found: Any = client.call("GetInputSettings", {"inputName": "bg"})["inputSettings"]
        assert found["color"] == 0xFF112233
    finally:
        client.close()


def test_a_launcher_that_is_killed_takes_obs_with_it(obs: Studio) -> None:
    obs.connect().close()
    pid = obs.obs_pid
    assert obs.launcher is not None
    obs.launcher.kill()
    obs.launcher.wait()
    until(lambda: not _alive(pid), "OBS has ended")
    obs.start()
    obs.connect().close()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _listeners(port: int) -> Iterator[tuple[str, str]]:
    """The address in the kernel's words, and the socket's number, of who listens on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[1].rpartition(":")[0], f"socket:[{fields[9]}]"


def _listener(port: int) -> int:
    """The pid that listens on a port."""
    inodes = {inode for _, inode in _listeners(port)}
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) in inodes:
                return int(fd.parts[2])
        except OSError:
            continue
    return 0


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().decode(errors="replace")
        except OSError:
            continue


class Picture:
    """A picture as PPM has it, by (x, y)."""

    def __init__(self, data: bytes) -> None:
        magic, width, height, _, self._rows = data.split(None, 4)
        assert magic == b"P6"
        self._width, self.height = int(width), int(height)
        self._rows = data[-3 * self._width * self.height :]

    def at(self, x: int, y: int) -> tuple[int, int, int]:
        start = 3 * (y * self._width + x)
        red, green, blue = self._rows[start : start + 3]
        return red, green, blue


def _shot(client: Client) -> Picture:
    shot = client.call("GetSourceScreenshot", {"sourceName": "main", "imageFormat": "ppm"})
    return Picture(base64.b64decode(str(shot["imageData"]).partition(",")[2]))


def _picture(client: Client) -> Picture:
    """What is on air, once something is drawn."""
    deadline = time.monotonic() + 30
    while True:
        picture = _shot(client)
        if any(picture.at(20, 300)) or time.monotonic() > deadline:
            return picture


def _near(found: tuple[int, int, int], wanted: tuple[int, int, int]) -> bool:
    return all(abs(int(f) - w) <= 3 for f, w in zip(found, wanted, strict=True))
