"""What is streamed plays in a real browser: on our own page, and in hls.js."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from tests.e2e.browser.chromium import Chromium, chromium
from tests.e2e.host import Host
from tests.e2e.host import host as new_host
from tests.programs_needed import need, need_module

BROWSER = Path(__file__).parent / "browser"
QUICKSTART = Path(__file__).parents[2] / "examples/quickstart.yaml"
HLS_JS = BROWSER / "node_modules/hls.js/dist/hls.min.js"

PROFILE = """
    version: 1
    servers:
      web: {listen: "127.0.0.1:PORT"}
    streams:
      bars:
        video: {source: {test: {resolution: 320x240}}, fps: 15, bitrate: 300k, preset: ultrafast}
        audio: {source: {tone: 440}}
        destinations:
          web: {hls: {latency: low}}
"""

PAGE = """<!doctype html>
<video muted autoplay playsinline></video>
<script src="hls.min.js"></script>
<script>
  const hls = new Hls({ liveSyncDurationCount: 2 });
  hls.on(Hls.Events.ERROR, (_, data) => console.log(data.type, data.details, data.fatal));
  hls.loadSource(new URLSearchParams(location.search).get("playlist"));
  hls.attachMedia(document.querySelector("video"));
</script>
"""

PLAYED = "document.querySelector('video').currentTime"
SIZE = "(v => v.videoWidth && [v.videoWidth, v.videoHeight])(document.querySelector('video'))"
DECODED = "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
# The average of the picture's pixels, and how much they differ: neither black nor one colour.
PICTURE = """(v => {
  const c = document.createElement("canvas"); c.width = 32; c.height = 24;
  const x = c.getContext("2d"); x.drawImage(v, 0, 0, 32, 24);
  const p = x.getImageData(0, 0, 32, 24).data.filter((_, i) => i % 4 !== 3);
  return [p.reduce((a, b) => a + b) / p.length, Math.max(...p) - Math.min(...p)];
})(document.querySelector("video"))"""


class Live:
    def __init__(self, host: Host, page: Chromium, port: int) -> None:
        self.host = host
        self.page = page
        self.port = port


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    need_module("websocket")
    port = free_port()
    with chromium() as page, tempfile.TemporaryDirectory(prefix="sd-") as directory, new_host(Path(directory)) as host:
        host.write(PROFILE.replace("PORT", str(port)))
        host.up()
        host.converged(1)
        yield Live(host, page, port)


@pytest.fixture
def hls_page(tmp_path: Path) -> Iterator[str]:
    """A page with hls.js, from another origin than the stream's."""
    if not HLS_JS.exists():
        if os.environ.get("STREAMSD_REQUIRE_PROGRAMS") == "1":
            pytest.fail("hls.js is not installed: run `npm ci` in tests/e2e/browser")
        pytest.skip("hls.js is not installed: run `npm ci` in tests/e2e/browser")
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "hls.min.js").write_bytes(HLS_JS.read_bytes())
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_plays(page: Chromium, size: tuple[int, int] = (320, 240)) -> None:
    assert page.until(SIZE, "the picture has a size") == list(size)
    begun = page.until(PLAYED, "it plays")
    page.until(f"{PLAYED} > {begun} + 2", "it goes on playing")
    assert page.evaluate(DECODED) > 5
    average, contrast = page.evaluate(PICTURE)
    assert 20 < average < 235
    assert contrast > 100


def test_our_own_page_plays_it_and_goes_on_through_an_edit(live: Live) -> None:
    page, host = live.page, live.host
    page.open(f"http://127.0.0.1:{live.port}/")
    page.until("document.querySelector('a[href=\"/bars/web/\"]') !== null", "the stream is listed")
    page.evaluate("document.querySelector('a[href=\"/bars/web/\"]').click()")
    page.until("location.pathname === '/bars/web/' && document.querySelector('video') !== null", "its page is open")
    assert_plays(page)
    before = host.pids()
    host.edit("bitrate: 300k", "bitrate: 200k")
    host.converged(2)
    after = host.pids()
    assert {unit for unit in before if before[unit] != after.get(unit)} == {"Stream/bars/encoder"}
    decoded = page.evaluate(DECODED)
    page.until(f"{DECODED} > {decoded} + 60", "pictures of the new encoder are shown")
    assert page.evaluate("document.querySelector('video').error") is None


def open_in_hls_js(page: Chromium, hls_page: str, playlist: str) -> None:
    page.open(f"{hls_page}?playlist={playlist}")
    page.until(f"location.search.includes('{playlist}') && document.querySelector('video') !== null", "it is open")


def test_hls_js_plays_it(live: Live, hls_page: str) -> None:
    open_in_hls_js(live.page, hls_page, f"http://127.0.0.1:{live.port}/bars/web/index.m3u8")
    assert_plays(live.page)


def test_the_quickstart_plays_in_hls_js_and_its_recording_is_as_declared(host: Host, hls_page: str) -> None:
    for program in ("Xvfb", "xclock", "xterm", "xsetroot"):
        need(program)
    port = free_port()
    text = QUICKSTART.read_text()
    assert "127.0.0.1:8088" in text
    assert "segment: 1m" in text
    host.write(text.replace("127.0.0.1:8088", f"127.0.0.1:{port}").replace("segment: 1m", "segment: 4s"))
    host.up()
    host.until(lambda: host.resource("Stream/desktop")["ready"], "the stream is ready")
    with chromium() as page:
        open_in_hls_js(page, hls_page, host.resource("Stream/desktop")["observed"]["destinations"]["web"]["url"])
        assert_plays(page, (1280, 720))
    recordings = host.directory / "recordings"
    second = host.until(lambda: sorted(recordings.rglob("*.mkv"))[1:2], "a second recording is whole", within=90)[0]
    with av.open(str(second)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (1280, 720)
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
    assert times == sorted(times)
    duration = times[-1] - times[0]
    assert duration == pytest.approx(4, abs=1.2)  # segments begin at keyframes, one a second
    assert len(times) / duration == pytest.approx(30, rel=0.15)
