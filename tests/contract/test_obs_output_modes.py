"""OBS's simple and advanced mode, the replay buffer, the virtual camera, sound tracks and inputs of every scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.obs_documents import VIDEO, color, document, item
from tests.contract.obs_rig import Director, Studio, studio, until
from tests.programs_needed import need_module

pytestmark = pytest.mark.xdist_group("obs-director")

SMALL = {**VIDEO, "base_width": 320, "base_height": 180, "output_width": 320, "output_height": 180, "fps_numerator": 10}


def show(**parts: Any) -> dict[str, Any]:
    scenes = [{"name": "main", "items": [item("bg")]}]
    outputs = {"record": False, "replay_buffer": False, **parts.pop("outputs", {})}
    inputs = {"bg": color(0xFF0000FF, 320, 180), **parts.pop("inputs", {})}
    return document(scenes=scenes, inputs=inputs, outputs=outputs, interrupt=True, **parts)


@pytest.fixture(scope="module")
def obs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("obs")) as made:
        made.connect().close()
        yield made


@pytest.fixture
def director(obs: Studio, tmp_path: Path) -> Iterator[Director]:
    made = Director(obs, tmp_path, show(video=SMALL))
    yield made
    made.process.kill()
    made.process.wait()


def running(director: Director, output: str) -> bool:
    return bool(director.status()["outputs"].get(output, {}).get("active"))


def test_the_replay_buffer_is_set_up_started_and_saved(director: Director, tmp_path: Path) -> None:
    refused = director.ask(do="save-replay")
    assert (refused["ok"], refused["reason"]) == (False, "NoReplayBuffer")
    simple = {"FilePath": str(tmp_path / "rec"), "RecRB": "true", "RecRBTime": "5", "Preset": "ultrafast"}
    parameters = [["SimpleOutput", name, value] for name, value in simple.items()]
    director.write(show(video=SMALL, parameters=parameters, outputs={"replay_buffer": True, "virtual_camera": True}))
    director.ask(do="desired")
    until(lambda: running(director, "replay_buffer"), "it runs")
    # a buffer without a keyframe has nothing to save yet
    saved = []
    until(lambda: saved.append(director.ask(do="save-replay")) or saved[-1]["ok"], "the last seconds are saved")
    path = Path(saved[-1]["path"])
    assert path.parent == tmp_path / "rec"
    assert path.stat().st_size > 0

    # the virtual camera is not there, and why
    (finding,) = director.status()["findings"]
    assert finding["reason"] == "OutputUnavailable"
    assert "v4l2loopback" in finding["message"]


def test_the_advanced_mode_has_its_encoders_and_tracks(obs: Studio, director: Director, tmp_path: Path) -> None:
    need_module("av")
    import av

    advanced = {
        "Encoder": "obs_x264",
        "RecEncoder": "obs_x264",
        "RecFilePath": str(tmp_path / "rec"),
        "RecFormat": "mkv",
        "RecTracks": "3",
        "TrackIndex": "1",
        "Track1Bitrate": "128",
        "Track2Bitrate": "96",
        "Track2Name": "music",
    }
    encoders = {
        "streamEncoder": {"rate_control": "CBR", "bitrate": 700, "keyint_sec": 1, "preset": "ultrafast"},
        "recordEncoder": {"rate_control": "CBR", "bitrate": 333, "keyint_sec": 2, "preset": "ultrafast"},
    }
    parameters = [["Output", "Mode", "Advanced"], *(["AdvOut", name, value] for name, value in advanced.items())]
    director.write(show(video=SMALL, parameters=parameters, encoders=encoders, outputs={"record": True}))
    assert director.ask(do="desired")["converged"]
    until(lambda: director.status()["outputs"]["record"]["bytes"] > 20_000, "it records")
    assert director.ask(do="desired")["changed"] == []
    log = obs.log.read_text(errors="replace")
    assert "bitrate:      333" in log
    assert "] bitrate: 96, channels" in log
    director.write(show(video=SMALL, parameters=parameters, encoders=encoders))
    director.ask(do="desired")
    until(lambda: not running(director, "record"), "it has stopped")
    (file,) = (tmp_path / "rec").iterdir()
    with av.open(str(file)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "audio"]
        if obs.instance.version < (31,):  # later ones name no track of a recording
            assert container.streams.audio[1].metadata["title"] == "music"
        keys = [packet.pts * packet.time_base for packet in container.demux(video=0) if packet.is_keyframe]
    assert all(1.9 < float(b - a) < 2.1 for a, b in zip(keys, keys[1:], strict=False))

    back = show(video=SMALL, parameters=[["Output", "Mode", "Simple"]])
    director.write(back)
    assert director.ask(do="desired")["converged"]


def test_inputs_of_every_scene_are_made_set_and_removed(obs: Studio, director: Director) -> None:
    quiet = {"volume_db": -12.0, "muted": False, "balance": 0.5, "sync_ms": 0, "tracks": [1, 3]}
    gain = {"name": "gain", "kind": "gain_filter", "settings": {"db": -3.0}, "enabled": True}
    desktop = {
        "kind": "pulse_output_capture",
        "settings": {"device_id": "music.monitor"},
        "audio": quiet,
        "filters": [gain],
    }
    microphone = {"kind": "pulse_input_capture", "settings": {"device_id": "mic"}}
    wanted = {"desktop1": "Desktop Audio", "mic2": "Guest"}
    heard = show(video=SMALL, inputs={"Desktop Audio": desktop, "Guest": microphone}, special=wanted)
    director.write(heard)
    assert director.ask(do="desired")["converged"]
    assert director.ask(do="desired")["changed"] == []
    client = obs.connect()
    try:
        found = client.call("GetSpecialInputs")
        assert {place: name for place, name in found.items() if name} == wanted
        settings: Any = client.call("GetInputSettings", {"inputName": "Desktop Audio"})["inputSettings"]
        assert settings["device_id"] == "music.monitor"
        tracks: Any = client.call("GetInputAudioTracks", {"inputName": "Desktop Audio"})["inputAudioTracks"]
        assert [number for number, on in tracks.items() if on] == ["1", "3"]
        volume: Any = client.call("GetInputVolume", {"inputName": "Desktop Audio"})["inputVolumeDb"]
        assert abs(volume + 12.0) < 0.01

        # what is no longer declared goes; what somebody else made stays
        client.call("SetInputVolume", {"inputName": "Guest", "inputVolumeDb": -20.0})
        until(lambda: _volume(client, "Guest") > -1.0, "drift is repaired")
        director.write(show(video=SMALL, inputs={"Guest": microphone}, special={"mic2": "Guest"}))
        assert director.ask(do="desired")["converged"]
        found = client.call("GetSpecialInputs")
        assert {place: name for place, name in found.items() if name} == {"mic2": "Guest"}
    finally:
        client.close()


def _volume(client: Any, name: str) -> float:
    return float(client.call("GetInputVolume", {"inputName": name})["inputVolumeDb"])
