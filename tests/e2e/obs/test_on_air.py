"""What happens while OBS streams: edits that go on air, edits that cost the stream, and a crash. Real daemon, real
OBS, a real RTMP server, whose files are what the audience has seen."""

from __future__ import annotations

import os
import signal
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamsd.cli.client import Client
from tests.contract.obs_rig import free_port
from tests.e2e import host as hosts
from tests.e2e.host import Host, alive
from tests.e2e.obs import media
from tests.e2e.obs.conftest import RtmpServer
from tests.e2e.obs.instance import Instance, near

SHOW = """
    version: 1
    obs:
      studio:
        canvas: 640x360
        output: 320x180
        fps: 10
        websocket: {port: PORT}
        scenes: [main]
        encoder: {preset: ultrafast, bitrate: 300k}
        stream: {state: "on", server: "URL", key: first-key}
        record: {path: rec, quality: high}
    scenes:
      main:
        items:
          - {name: lamp, color: {color: "#ff0000", size: 100x100}, position: [400, 100]}
          - {name: back, color: {color: "#333333", size: 640x360}}
          - {name: sound, input: {kind: ffmpeg_source, settings: {local_file: /dev/null}}}
"""

LONGEST_GAP = 20.0
"""Seconds between two pictures: a loaded machine skips some, a stream that breaks begins a new file."""


class OnAir:
    """An instance that streams to a server."""

    def __init__(self, host: Host, server: RtmpServer) -> None:
        self.host = host
        self.server = server
        self.obs = Instance(host)
        self.show = textwrap.dedent(SHOW).replace("PORT", str(free_port())).replace("URL", server.url)

    def at_rest(self) -> None:
        """SHOW is on air, whatever was."""
        self.host.write(self.show)
        assert self.host.cli("apply", "--allow-interrupt", "--wait", "90").returncode == 0
        self.until(lambda: self.obs.streams() and self.server.streams(), "it streams")
        self.until(lambda: self.receives((320, 180), 300, "first-key"), "the server has it")
        self.until(lambda: near(self.seen(20, 20), 0x33, 0x33, 0x33, by=8), "the server has the picture")

    def bitrate(self, over_ms: int = 5000) -> tuple[float, float]:
        """Bits a second of the stream in the last seconds: as it is told, and by what the server has received."""
        begin, received = self.obs.output("stream"), self.server.bytes()
        self.until(lambda: self.obs.output("stream")["duration_ms"] >= begin["duration_ms"] + over_ms, "it goes on")
        now = self.obs.output("stream")
        got = (self.server.bytes() - received) * 8000 / (now["duration_ms"] - begin["duration_ms"])
        return now["bitrate"], got

    def receives(self, size: tuple[int, int], kbps: int, key: str) -> bool:
        """Whether what the server received last is of this kind."""
        last = self.server.streams()[-1]
        try:
            found = media.picture(last)
        except media.NOT_YET:
            return False
        return found.size == size and round(found.declared_kbps / kbps, 1) == 1.0 and self.server.key(last) == key

    def until(self, fact: Callable[[], object], what: str) -> None:
        self.host.until(fact, what, within=90)

    def converged(self) -> bool:
        status = Client(self.host.settings).get("/v1/status")
        return bool(status["converged"] and status["generation"] == status["observed_generation"])

    def seen(self, x: int, y: int) -> tuple[int, ...]:
        """A pixel, by the canvas's coordinates, of what the server received last."""
        last = self.server.streams()[-1]
        try:
            width, height = media.picture(last).size
            return media.last_pixel(last, x * width // 640, y * height // 360)
        except media.NOT_YET:
            return (-1, -1, -1)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnAir]:
    with tempfile.TemporaryDirectory(prefix="sd-") as directory, hosts.host(Path(directory)) as host:
        server = RtmpServer(tmp_path_factory.mktemp("rtmp"))
        server.up()
        try:
            made = OnAir(host, server)
            host.write(made.show)
            host.up()
            yield made
        finally:
            server.down()


@pytest.fixture
def on_air(studio: OnAir) -> OnAir:
    studio.at_rest()
    return studio


def test_a_live_edit_goes_on_air_and_the_stream_goes_on(on_air: OnAir) -> None:
    before, pids = on_air.server.streams(), on_air.host.pids()
    on_air.host.edit("#333333", "#2244aa")
    on_air.until(lambda: near(on_air.seen(20, 20), 0x22, 0x44, 0xAA, by=8), "the audience sees the colour")
    on_air.host.edit("[400, 100]", "[100, 200]")
    on_air.until(lambda: near(on_air.seen(150, 250), 0xFF, 0, 0, by=8), "the audience sees the lamp where it is now")
    assert near(on_air.seen(450, 150), 0x22, 0x44, 0xAA, by=8)
    assert on_air.server.streams() == before
    assert on_air.host.pids() == pids
    times = media.picture(before[-1]).times
    assert list(times) == sorted(set(times))
    assert media.picture(before[-1]).longest_gap < LONGEST_GAP


def test_what_an_operator_commands_holds_until_it_is_reset(on_air: OnAir) -> None:
    obs, before = on_air.obs, on_air.server.streams()

    def commanded(*words: str) -> str:
        done = on_air.host.cli("obs", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "lamp" in commanded("source", "hide", "main", "lamp")
    on_air.until(lambda: near(on_air.seen(450, 150), 0x33, 0x33, 0x33, by=8), "the audience sees the lamp no more")
    obs.operate("source-mute", input="sound")
    on_air.until(lambda: "sound is muted" in obs.condition("Overridden")["message"], "the condition tells of it")
    assert "lamp is hidden in main" in obs.condition("Overridden")["message"]

    commanded("record", "start")
    on_air.until(obs.records, "it records")
    obs.operate("record-pause")
    on_air.until(lambda: obs.output("record")["paused"], "the recording pauses")
    obs.operate("record-resume")
    on_air.until(lambda: not obs.output("record")["paused"], "the recording goes on")

    picture = on_air.host.directory / "shot.png"
    commanded("screenshot", str(picture))
    assert near(media.last_pixel(picture, 450, 150), 0x33, 0x33, 0x33)

    commanded("reset")
    on_air.until(lambda: near(on_air.seen(450, 150), 0xFF, 0, 0, by=8), "the audience sees the lamp")
    on_air.until(lambda: not obs.is_true("Overridden"), "nothing differs from the profile")
    assert on_air.server.streams() == before
    obs.operate("record-stop")
    on_air.until(lambda: not obs.output("record")["active"], "it records no more")

    obs.operate("stream-stop")
    on_air.until(lambda: not obs.output("stream")["active"], "it is off the air")
    commanded("stream", "start")
    on_air.until(lambda: len(on_air.server.streams()) > len(before) and obs.streams(), "it streams again")
    obs.operate("reset")


def test_a_killed_obs_is_back_on_air_as_declared_without_a_dialog(on_air: OnAir) -> None:
    # OBS writes neither of these to its file before something else is created or removed
    on_air.host.edit("#333333", "#663399")
    on_air.host.edit("[400, 100]", "[500, 200]")
    on_air.until(lambda: near(on_air.seen(550, 250), 0xFF, 0, 0, by=8), "the edits are on air")
    before, pid, director = on_air.server.streams(), on_air.obs.obs_pid(), on_air.obs.pids()["director"]
    os.kill(pid, signal.SIGKILL)
    on_air.until(lambda: not alive(pid), "OBS is dead")
    on_air.until(lambda: len(on_air.server.streams()) > len(before) and on_air.obs.streams(), "it streams again")
    on_air.until(on_air.converged, "it has converged again")
    on_air.until(lambda: near(on_air.seen(550, 250), 0xFF, 0, 0, by=8), "the edits are on air again")
    assert near(on_air.seen(20, 20), 0x66, 0x33, 0x99, by=8)
    assert on_air.obs.obs_pid() not in (0, pid)
    assert on_air.obs.pids()["director"] == director
    (shown,) = on_air.obs.windows()
    assert "Profile: streamsd" in shown


LAMP = '- {name: lamp, color: {color: "#ff0000", size: 100x100}, position: [400, 100]}'

BAD = {
    "an input kind": ("- {name: lamp, input: {kind: @color_sorce_v3}}", "did you mean 'color_source_v3'?"),
    "a setting": ("- {name: lamp, input: {kind: color_source_v3, settings: {colour: @1}}}", "did you mean 'color'?"),
    "a filter kind": (
        f"{LAMP[:-1]}, filters: [{{name: f, kind: @colour_filter_v2}}]}}",
        "did you mean 'color_filter_v2'?",
    ),
    "a filter's setting": (
        f"{LAMP[:-1]}, filters: [{{name: f, kind: crop_filter, settings: {{lefft: @1}}}}]}}",
        "did you mean 'left'?",
    ),
    "an image": ("- {name: lamp, image: {file: @nowhere.png}}", "nowhere.png does not exist"),
    "a cycle of nested scenes": (
        "- {scene: @two}\n  two:\n    items: [{scene: main}]\n  three:\n    items:",
        "Scene/main -> Scene/two -> Scene/main",
    ),
}
"""`@` is where the mistake begins."""


def test_a_mistake_is_told_with_its_place_before_anything_is_touched(on_air: OnAir) -> None:
    before, pids, sent = on_air.server.streams(), on_air.host.pids(), on_air.obs.operate("status")["requests_sent"]

    def mistakes() -> list[dict[str, Any]]:
        problems = Client(on_air.host.settings).get("/v1/status")["problems"]
        return [problem for problem in problems if problem["severity"] == "error"]

    for what, (item, words) in BAD.items():
        text = on_air.show.replace(LAMP, item)
        place = text.index("@")
        on_air.host.write(text.replace("@", ""))
        on_air.until(mistakes, f"{what} is refused")
        (problem,) = mistakes()
        assert words in problem["message"] + problem["hint"], what
        where = (text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place))
        assert (problem["line"], problem["column"]) == where, what
        on_air.host.write(on_air.show)
        on_air.until(lambda: not mistakes(), "the profile is good again")
    assert on_air.host.pids() == pids
    assert on_air.server.streams() == before
    assert on_air.obs.operate("status")["requests_sent"] == sent


@pytest.mark.timeout(400)
def test_what_the_stream_is_made_of_restarts_it_exactly_once(on_air: OnAir) -> None:
    pids = on_air.host.pids()
    for old, new, size, kbps, key in (
        ("bitrate: 300k", "bitrate: 500k", (320, 180), 500, "first-key"),
        ("output: 320x180", "output: 160x90", (160, 90), 500, "first-key"),
        ("first-key", "second-key", (160, 90), 500, "second-key"),
    ):
        before = on_air.server.streams()
        on_air.host.edit(old, new)
        if key == "second-key":
            refused = on_air.host.cli("apply")
            assert refused.returncode == 1
            assert "streaming" in refused.stderr
        assert on_air.server.streams() == before
        assert on_air.host.cli("apply", "--allow-interrupt", "--wait", "90").returncode == 0

        # the server side says what comes now; and once: nothing more happens, and OBS itself goes on
        on_air.until(lambda before=before: len(on_air.server.streams()) > len(before), "the stream is begun anew")
        on_air.until(lambda: near(on_air.seen(20, 20), 0x33, 0x33, 0x33, by=8), "the server has the picture")
        assert on_air.receives(size, kbps, key)
        last = on_air.server.streams()[-1]
        on_air.until(lambda last=last: len(media.picture(last).times) > 20, "it goes on")
        assert on_air.server.streams() == [*before, last]
    told, received = on_air.bitrate()
    assert 0.5 < told / received < 2
    assert on_air.host.cli("plan").returncode == 0
    assert on_air.host.pids() == pids


def test_a_stream_into_a_server_that_hangs_is_begun_anew(on_air: OnAir) -> None:
    before = on_air.server.streams()
    assert on_air.server.process is not None
    hung = on_air.server.process
    os.kill(hung.pid, signal.SIGSTOP)
    on_air.until(lambda: on_air.obs.is_true("Degraded"), "the standstill is told")
    assert "Output" in on_air.obs.condition("Degraded")["reason"]
    hung.kill()  # its successor listens at once
    on_air.until(lambda: len(on_air.server.streams()) > len(before) and on_air.obs.streams(), "it streams again")
    on_air.until(lambda: not on_air.obs.is_true("Degraded"), "all is well again")
