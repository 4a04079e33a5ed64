"""The web server, asked as a browser asks and as an attacker does."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.media_room import PATIENCE, until

SEGMENT = bytes(range(256)) * 400


class Web:
    def __init__(self, directory: Path) -> None:
        self.root = directory / "www"
        live = self.root / "desk" / "web"
        live.mkdir(parents=True)
        (live / "index.m3u8").write_text("#EXTM3U\n")
        (live / "segment-1.m4s").write_bytes(SEGMENT)
        (live / ".hidden").write_text("hidden")
        (self.root / "empty").mkdir()
        self.secret = directory / "secret"
        self.secret.write_text("secret")
        (live / "link.m4s").symlink_to(self.secret)
        (self.root / "linked").symlink_to(directory)
        os.mkfifo(live / "fifo.m4s")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamsd.programs.webserver", "--host", "127.0.0.1"),
                *("--port", str(self.port), "--root", str(self.root)),
            ]
        )
        until(self._healthy, "it answers")

    def _healthy(self) -> bool:
        assert self.process.poll() is None
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", "x")
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            found = b""
            while chunk := sock.recv(65536):
                found += chunk
            return found


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with tempfile.TemporaryDirectory(prefix="sd-") as directory:
        made = Web(Path(directory))
        try:
            yield made
        finally:
            made.process.kill()
            made.process.wait()


def test_playlists_are_never_cached_and_segments_have_their_type(web: Web) -> None:
    status, headers, body = web.get("/desk/web/index.m3u8")
    assert (status, body) == (200, b"#EXTM3U\n")
    assert headers["content-type"] == "application/vnd.apple.mpegurl"
    assert headers["cache-control"] == "no-store"
    assert headers["access-control-allow-origin"] == "*"
    status, headers, body = web.get("/desk/web/segment-1.m4s")
    assert (status, body) == (200, SEGMENT)
    assert headers["content-type"] == "video/iso.segment"


def test_head_is_get_without_the_body(web: Web) -> None:
    status, headers, body = web.get("/desk/web/segment-1.m4s", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == str(len(SEGMENT))


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=5-99999999", slice(5, None)),
    ],
)
def test_ranges(web: Web, asked: str, part: slice) -> None:
    status, headers, body = web.get("/desk/web/segment-1.m4s", Range=asked)
    assert (status, body) == (206, SEGMENT[part])
    assert headers["content-range"].endswith(f"/{len(SEGMENT)}")


def test_a_range_outside_is_said_to_be(web: Web) -> None:
    status, headers, _ = web.get("/desk/web/segment-1.m4s", Range="bytes=999999999-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(SEGMENT)}")


def test_a_range_that_is_none_means_the_whole(web: Web) -> None:
    assert web.get("/desk/web/segment-1.m4s", Range="lines=1-2")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/desk/../../secret",
        "/desk/web/../../../secret",
        "/%2e%2e/secret",
        "/desk/%2e%2e/%2e%2e/secret",
        "/desk%2f..%2f..%2fsecret",
        "//secret",
        "/desk/web/..%2f..%2f..%2fsecret",
        "/desk/web/link.m4s",
        "/linked/secret",
        "/linked/www/desk/web/segment-1.m4s",
        "/desk/web/fifo.m4s",
        "/desk/web/.hidden",
        "/desk/web/%00",
        "/desk/web",
        "/desk/",
        "/_/../watch.css/..",
        "/_/%2e%2e/__init__.py",
        "/_/player.html/",
        "/nothing",
    ],
)
def test_nothing_leads_out(web: Web, path: str) -> None:
    status, _, body = web.get(path)
    assert status in (307, 404)
    assert b"secret" not in body
    assert b"hidden" not in body


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"400"),
        (b"GET secret HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /%ff%fe HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"413"),
        (b"DELETE /desk/web/index.m3u8 HTTP/1.1\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_nonsense_gets_an_answer(web: Web, data: bytes, status: bytes) -> None:
    assert web.raw(data).split(b" ")[1] == status
    assert web.get("/healthz")[0] == 200


def test_a_connection_serves_many_requests(web: Web) -> None:
    one = b"GET /desk/web/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert web.raw(one * 5).count(b"#EXTM3U") == 5


def test_the_pages(web: Web) -> None:
    status, headers, body = web.get("/")
    assert status == 200
    assert b'href="/desk/web/"' in body
    assert "default-src 'self'" in headers["content-security-policy"]
    status, _, body = web.get("/desk/web/")
    assert status == 200
    assert b"/_/player.js" in body
    assert web.get("/_/player.js")[1]["content-type"].startswith("text/javascript")
    status, headers, _ = web.get("/desk/web")
    assert (status, headers["location"]) == (307, "web/")


def test_a_playlist_that_nobody_writes_any_more_is_gone(web: Web) -> None:
    stale = web.root / "gone" / "web"
    stale.mkdir(parents=True)
    (stale / "index.m3u8").write_text("#EXTM3U\n")
    assert b"/gone/web/" in web.get("/")[2]
    old = time.time() - 3600
    os.utime(stale / "index.m3u8", (old, old))
    assert web.get("/gone/web/index.m3u8")[0] == 404
    assert b"/gone/web/" not in web.get("/")[2]


def test_it_ends_when_asked_even_with_a_viewer(web: Web) -> None:
    with tempfile.TemporaryDirectory(prefix="sd-") as directory:
        other = Web(Path(directory))
        with socket.create_connection(("127.0.0.1", other.port)):
            other.process.send_signal(signal.SIGTERM)
            assert other.process.wait(PATIENCE) == 0


def test_a_port_that_is_taken_is_said_to_be(web: Web) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "streamsd.programs.webserver", "--host", "127.0.0.1"),
            *("--port", str(web.port), "--root", str(web.root)),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert f"127.0.0.1:{web.port}" in done.stderr
    assert "Traceback" not in done.stderr
