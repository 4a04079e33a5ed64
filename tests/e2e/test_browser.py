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

import pytest

from tests.e2e.browser.chromium import Chromium, chromium
from tests.e2e.host import Host
from tests.e2e.host import host as new_host
from tests.programs_needed import need_module

pytestmark = pytest.mark.xdist_group("browser")

BROWSER = Path(__file__).parent / "browser"
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
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


def assert_plays(page: Chromium) -> None:
    assert page.until(SIZE, "the picture has a size") == [320, 240]
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


def test_hls_js_plays_it(live: Live, hls_page: str) -> None:
    playlist = f"http://127.0.0.1:{live.port}/bars/web/index.m3u8"
    live.page.open(f"{hls_page}?playlist={playlist}")
    live.page.until("location.search !== '' && document.querySelector('video') !== null", "the page is open")
    assert_plays(live.page)
