"""What an OBS holds, as a profile: applied it changes nothing, in an empty OBS it makes the same again. Both ways: from
a running instance, and from the files that an OBS of somebody else's has written."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamsd.cli.client import Client
from streamsd.programs.director import client as obsws
from streamsd.programs.director.kinds import base, offered
from tests.contract.obs_rig import Studio, free_port, studio, until
from tests.e2e.host import Host
from tests.e2e.obs.instance import Instance
from tests.e2e.obs.media import picture_file
from tests.programs_needed import need

SHOW = """
    version: 1
    obs:
      studio:
        websocket: {port: PORT}
        audio: music
        canvas: 640x360
        output: 320x180
        fps: 15
        scenes: [main, two, inner]
        program: two
        studio_mode: true
        preview: main
        transitions:
          sweep: {kind: wipe_transition, settings: {luma_softness: 0.25}}
          slide: {kind: slide_transition, settings: {direction: left}}
        transition: {name: sweep, duration: 450ms}
        advanced:
          settings: {rate_control: CBR, bitrate: 800}
          tracks: [{name: all, bitrate: 128k}, {name: voice}]
        special:
          desktop_1: {device: music, name: House, sound: {volume_db: -6, tracks: [1, 2]}}
        reconnect: {delay: 4s, retries: 7}
        sources:
          bed:
            media: {file: bed.mp3}
            sound: {volume_db: -6.5, muted: true, balance: 0.25, sync_ms: 120, monitor: monitor_only, tracks: [1, 3]}
            filters:
              - {name: gain, kind: gain_filter, settings: {db: -3.5}}
              - {name: gate, kind: noise_gate_filter, enabled: false}
    scenes:
      main:
        title: Haupt- & Szene/1
        filters: [{name: warm, kind: color_filter_v2, settings: {brightness: 0.1, hue_shift: -12.5}}]
        items:
          - {source: bed}
          - name: pair
            position: [100, 100.5]
            scale: [0.5, 0.75]
            filters: [{name: edge, kind: sharpness_filter_v2}]
            group:
              items:
                - {name: left, color: {color: "#00ff0080", size: 40x40}}
                - {name: right, color: {color: "#0000ff", size: 40x40}, position: [60, 10], visible: false}
          - {scene: inner, position: [400, 200], scale: 0.333, rotation: 33.3, blend: additive}
          - name: title
            text: {text: "Guten\\nAbend, 日本", font: {size: 32}}
            position: [20, 20]
            locked: true
          - {name: clock, screen: {display: desk}, size: 320x180, fit: inside, fit_align: top, align: bottom-right,
             position: [640, 360], crop: {left: 5, bottom: 7}}
          - {source: back}
      two:
        transition: {name: slide, duration: 700ms}
        items:
          - {name: back, color: {color: "#333333", size: 640x360}}
          - {source: bed}
      inner:
        transition: {name: Cut}
        items:
          - {name: red, color: {color: "#ff0000", size: 80x80}}
          - {source: red, position: [100, 0]}
    displays:
      desk: {resolution: 640x360}
    audio:
      music: {}
    apps:
      idle: {command: [sleep, "1000"]}
"""


KEY = "key-by-hand-4711"


@pytest.fixture(autouse=True)
def _more_needed() -> None:
    need("pulseaudio")


def _sent(obs: Instance) -> int:
    """Requests that changed something, since the director connected."""
    return int(obs.operate("status")["requests_sent"])


def _imported(host: Host, *options: str) -> str:
    done = host.cli("obs", "import", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _take(host: Host, profile: str) -> None:
    host.write(profile)
    done = host.cli("apply", "--wait", "90")
    assert done.returncode == 0, done.stderr
    assert Client(host.settings).get("/v1/status")["converged"]


def _plan(host: Host) -> list[dict[str, Any]]:
    plan = Client(host.settings).get("/v1/plan")
    assert not [d for d in plan["diagnostics"] if d["severity"] == "error"]
    return plan["actions"]  # type: ignore[no-any-return]


def _make_rich(client: obsws.Client, files: Path, display: str) -> None:
    """By hand, what nobody has declared."""
    image, page = files / "logo.png", files / "page.txt"
    picture_file(image)
    page.write_text("from a file")

    kinds = client.call("GetInputKindList")["inputKinds"]

    def add(name: str, kind: str, **settings: Any) -> None:
        kind = offered(kind, kinds)
        scene = {"sceneName": "By hand", "inputName": name, "inputKind": kind, "inputSettings": settings}
        client.call("CreateInput", scene)

    client.call("CreateScene", {"sceneName": "By hand"})
    add(
        "Its text",
        "text_ft2_source_v2",
        text="costs ${5}",
        font={"face": "Sans Serif", "size": 40, "style": "", "flags": 0},
    )
    add("Its page", "text_ft2_source_v2", from_file=True, text_file=str(page))
    add("Its colour", "color_source_v3", color=0x80112233, width=300, height=200)
    add("Its logo", "image_source", file=str(image))
    add("Its lost logo", "image_source", file="/nowhere/logo.png")
    add("Its slides", "slideshow", files=[{"value": str(image), "selected": False, "hidden": False}], slide_time=3000)
    add("Its film", "ffmpeg_source", local_file=str(files / "bed.mp3"), looping=True)
    add("Its camera", "ffmpeg_source", is_local_file=False, input="rtmp://127.0.0.1:1/x", reconnect_delay_sec=60)
    add("Its screen", "xshm_input", advanced=True, server=display, screen=0, show_cursor=False, cut_top=8)
    add("Its own screen", "xshm_input", screen=0)
    add("Its microphone", "pulse_input_capture", device_id="default")
    client.call("SetInputVolume", {"inputName": "Its microphone", "inputVolumeDb": -9.5})
    filter = {"sourceName": "Its colour", "filterName": "key", "filterKind": "chroma_key_filter_v2"}
    client.call("CreateSourceFilter", {**filter, "filterSettings": {"similarity": 321}})
    server = {"server": "rtmp://127.0.0.1:1/live", "key": KEY}
    client.call("SetStreamServiceSettings", {"streamServiceType": "rtmp_custom", "streamServiceSettings": server})


def _set(client: obsws.Client, section: str, **values: str) -> None:
    newer = int(str(client.call("GetVersion")["obsVersion"]).split(".")[0]) >= 30
    for name, value in values.items():
        if name == "RecFormat" and newer:
            name = "RecFormat2"
        row = {"parameterCategory": section, "parameterName": name, "parameterValue": value}
        client.call("SetProfileParameter", row)


def test_a_running_instance_made_rich_by_hand_is_imported_as_it_is(host: Host) -> None:
    need("pulseaudio")
    (host.directory / "bed.mp3").write_bytes(b"")
    obs, port = Instance(host), free_port()
    host.write(SHOW.replace("PORT", str(port)))
    host.up()
    host.until(lambda: Client(host.settings).get("/v1/status")["converged"], "converged")

    # as declared: the profile says just that
    profile = _imported(host)
    host.write(profile)
    assert _plan(host) == []

    # made rich by hand
    _take(host, SHOW.replace("PORT", str(port)).replace("audio: music", "audio: music\n        prune: false"))
    password = (host.settings.run_dir / "r" / "Obs.studio" / "password").read_text().strip()
    client = obsws.Client.connect("127.0.0.1", port, password, timeout=30)
    display = host.resource("Display/desk")["observed"]["display"]
    _make_rich(client, host.directory, display)
    _set(client, "AdvOut", RecFilePath="/tmp/by hand", RecFormat="mp4", RecTracks="3", RecRB="true", RecRBTime="45")
    _set(client, "Output", FilenameFormatting="show %hh-%mm")
    _set(client, "AdvOut", RecSplitFile="true")
    client.close()
    sent, pids = _sent(obs), host.pids()
    done = host.cli("obs", "import", "--secrets", str(host.directory / "keys"))
    assert done.returncode == 0, done.stderr
    profile = done.stdout
    key = host.directory / "keys" / "studio-stream-key"
    assert key.read_text().strip() == KEY
    assert (stat.S_IMODE(key.stat().st_mode), stat.S_IMODE(key.parent.stat().st_mode)) == (0o600, 0o700)
    assert KEY not in profile + done.stderr

    # onto the OBS that it comes from: not one request, and nothing is started anew
    host.write(profile)
    assert host.cli("validate").returncode == 0, profile
    actions = _plan(host)
    assert {action["action"] for action in actions} <= {"create", "patch"}, actions
    assert not any(action["processes"] or action["interrupts"] for action in actions), actions
    _take(host, profile)
    assert host.pids() == pids
    assert _sent(obs) == sent
    assert _plan(host) == []
    assert _imported(host) == profile
    assert KEY not in host.log()

    # in the words of people
    made = yaml.safe_load(profile)
    assert list(made) == ["version", "apps", "audio", "displays", "obs", "scenes"]
    ours = made["obs"]["studio"]
    assert ours["stream"] == {"server": "rtmp://127.0.0.1:1/live", "key": f"${{secret:file:{key}}}"}
    assert ours["record"] == {
        "path": "/tmp/by hand",
        "format": "mp4",
        "filename": "show %hh-%mm",
        "tracks": [1, 2],
    }
    assert ours["replay_buffer"] == {"length": "45s"}
    assert ours["parameters"] == {"AdvOut": {"RecSplitFile": "true"}}
    items = {item["name"]: item for item in made["scenes"]["By-hand"]["items"]}
    assert items["Its text"]["text"] == {"text": "costs $${5}", "font": {"size": 40}}
    assert items["Its page"]["text"]["file"] == str(host.directory / "page.txt")
    assert items["Its colour"]["color"] == {"color": "#33221180", "size": "300x200"}
    assert items["Its logo"]["image"] == {"file": str(host.directory / "logo.png")}
    assert items["Its lost logo"]["input"]["kind"] == "image_source"
    assert items["Its slides"]["slideshow"]["every"] == "3s"
    assert items["Its film"]["media"] == {"file": str(host.directory / "bed.mp3"), "loop": True}
    assert items["Its camera"]["network"] == {"url": "rtmp://127.0.0.1:1/x", "reconnect": "1m"}
    assert items["Its screen"]["screen"] == {"display": "desk", "cursor": False, "cut": {"top": 8}}
    own = items["Its own screen"]["input"]
    assert (base(own["kind"]), own["settings"]) == ("xshm_input", {"screen": 0})
    assert items["Its microphone"]["audio"] == {"source": "default"}

    # onto an empty one, under the same name
    _take(host, "version: 1\n")
    assert not obs.pids()
    _take(host, profile)
    assert obs.pids()["obs"] != pids["Obs/studio/obs"]
    assert _imported(host) == profile

    # in studio mode, what is in preview goes on air
    assert obs.operate("transition")["overrides"] == {"program": "Haupt- & Szene/1"}
    host.until(lambda: obs.observed()["program"] == "Haupt- & Szene/1", "it is on air")


def _written(other: Studio, client: obsws.Client) -> Path:
    """The collection's file, once OBS has written into it what it holds: at the next change of what there is."""
    client.call("CreateScene", {"sceneName": "sentinel"})
    client.call("RemoveScene", {"sceneName": "sentinel"})
    file = other.instance.scenes / "streamsd.json"

    def written() -> bool:
        if not file.exists():  # OBS renames
            return False
        return "Its microphone" in file.read_text() and "sentinel" not in file.read_text()

    until(written, "OBS has written its collection")
    return file


def test_the_files_of_an_obs_are_a_profile_that_changes_nothing_in_it(host: Host, tmp_path: Path) -> None:
    with studio(tmp_path / "obs") as other:
        (tmp_path / "bed.mp3").write_bytes(b"")
        client = other.connect()
        _make_rich(client, tmp_path, ":4711")
        _set(client, "SimpleOutput", VBitrate="1234", ABitrate="96", Preset="ultrafast", RecQuality="Small")
        _set(client, "SimpleOutput", FilePath=str(tmp_path), RecFormat="flv", RecRB="true", RecRBTime="31")
        _set(client, "SimpleOutput", UseAdvanced="true", x264Settings="keyint=60 bframes=0")
        _set(client, "Output", Reconnect="false", MaxRetries="3")
        video = {"baseWidth": 640, "baseHeight": 360, "outputWidth": 320, "outputHeight": 180}
        client.call("SetVideoSettings", {**video, "fpsNumerator": 30000, "fpsDenominator": 1001})
        client.call("SetCurrentProgramScene", {"sceneName": "By hand"})

        collection = _written(other, client)
        profile = yaml.safe_load(
            _imported(host, str(collection), "--name", "theirs", "--secrets", str(tmp_path / "keys"))
        )
        theirs = profile["obs"]["theirs"]
        assert theirs["encoder"] == {
            "bitrate": "1234k",
            "audio_bitrate": "96k",
            "encoder": "x264",
            "preset": "ultrafast",
        }
        assert theirs["parameters"] == {"SimpleOutput": {"UseAdvanced": "true", "x264Settings": "keyint=60 bframes=0"}}
        assert (theirs["canvas"], theirs["output"], theirs["fps"]) == ("640x360", "320x180", 29.97)
        assert theirs["replay_buffer"] == {"length": "31s"}
        assert theirs["record"]["quality"] == "high"
        (tmp_path / "keys" / "password").write_text(other.password)
        (tmp_path / "keys" / "password").chmod(0o600)
        password = f"${{secret:file:{tmp_path}/keys/password}}"
        theirs["external"] = {"host": "127.0.0.1", "port": other.port, "password": password}

        host.write(json.dumps(profile))
        assert host.cli("validate").returncode == 0
        obs = Instance(host, "theirs")
        host.up()
        host.until(lambda: obs.observed().get("converged"), "it is as declared")
        assert _sent(obs) == 0, obs.observed()
        again = _imported(host)
        assert yaml.safe_load(again) == profile
        _take(host, again)
        assert _sent(obs) == 0
        assert _imported(host) == again
        client.close()
