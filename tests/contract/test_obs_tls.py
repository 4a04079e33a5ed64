"""OBS streams over TLS (rtmps), and to nobody whose certificate it cannot trust."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from tests.contract.obs_documents import VIDEO, color, document, item
from tests.contract.obs_rig import Director, free_port, studio, until
from tests.programs_needed import need

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("obs-director")]

TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")
"""Where OBS's librtmp looks for whom it trusts (mbed TLS); no variable of the environment changes it."""


class TlsServer:
    """An RTMP server, ffmpeg, behind TLS with a certificate of an authority of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.authority = directory / "authority.pem"
        self.received = directory / "received.flv"
        self._openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout authority.key -out authority.pem -subj /CN=ours -days 2"
        )
        self._openssl("req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost")
        (directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        signs = "x509 -req -in request.pem -CA authority.pem -CAkey authority.key -CAcreateserial -out certificate.pem"
        self._openssl(f"{signs} -days 2 -extfile names")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
        self._plain = free_port()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-listen", "1"]
        argv += ["-i", f"rtmp://127.0.0.1:{self._plain}/live/key", "-c", "copy", "-flush_packets", "1", "-y"]
        self._ffmpeg = subprocess.Popen([*argv, str(self.received)], stdin=subprocess.DEVNULL)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self._ffmpeg.kill()
        self._ffmpeg.wait()

    def _openssl(self, words: str) -> None:
        argv = [need("openssl"), *words.split()]
        subprocess.run(argv, cwd=self._directory, check=True, capture_output=True, timeout=60)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):  # ssl.SSLError is one: it does not trust us
                outside = self._context.wrap_socket(peer, server_side=True)
                inside = socket.create_connection(("127.0.0.1", self._plain))
                for one, other in ((outside, inside), (inside, outside)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsServer]:
    made = TlsServer(tmp_path)
    yield made
    made.close()


def show(server: TlsServer) -> dict[str, Any]:
    settings = {"server": f"rtmps://localhost:{server.port}/live", "key": "key"}
    return document(
        scenes=[{"name": "main", "items": [item("bg")]}],
        inputs={"bg": color(0xFF0000FF)},
        program="main",
        video=VIDEO,
        service={"type": "rtmp_custom", "settings": settings},
        outputs={"stream": True},
    )


@contextlib.contextmanager
def streaming(tmp_path: Path, server: TlsServer) -> Iterator[tuple[Director, Path]]:
    """A director whose OBS is to stream, and OBS's log."""
    (tmp_path / "obs").mkdir()
    with studio(tmp_path / "obs") as made:
        made.connect().close()
        director = Director(made, tmp_path, show(server), converged=False)
        try:
            yield director, made.log
        finally:
            director.stop()


def test_a_server_of_an_unknown_authority_is_sent_nothing(tmp_path: Path, server: TlsServer) -> None:
    with streaming(tmp_path, server) as (director, log):

        def told() -> bool:
            findings = director.status().get("findings", [])
            return any(f["reason"] == "OutputFailing" and "its log says why" in f["message"] for f in findings)

        until(told, "it is told")
        assert "Cert verify failed" in log.read_text(errors="replace")
        assert not server.received.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root: OBS gets a mount namespace with another list of authorities")
def test_a_server_of_a_known_authority_is_streamed_to(
    tmp_path: Path, server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(TRUSTED.read_bytes() + server.authority.read_bytes())
    mount = f"mount --bind {shlex.quote(str(trusted))} {TRUSTED}"
    wrapper = tmp_path / "bin" / "obs"
    wrapper.parent.mkdir()
    obs = shlex.quote(need("obs"))
    wrapper.write_text(f'#!/bin/sh\nexec unshare --mount -- /bin/sh -c \'{mount} && exec {obs} "$@"\' obs "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    with streaming(tmp_path, server):
        until(lambda: server.received.exists() and server.received.stat().st_size > 50_000, "it arrives")
