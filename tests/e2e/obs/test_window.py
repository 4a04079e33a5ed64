"""A window that is captured: cut out of its display wherever it goes; nothing of that while there is none."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from pathlib import Path

import pytest

from streamsd.runtime.probes.xwindows import find_windows
from streamsd.runtime.probes.xwire import XConnection
from tests.e2e.host import Host
from tests.e2e.obs.instance import Instance, near
from tests.programs_needed import need

CANVAS = (320, 240)
BOARD, WALL, NOTHING = (0x22, 0xAA, 0x44), (0xAA, 0x22, 0x22), (0, 0, 0)

CLOCK = """
      board:
        display: desk
        command: [xclock, -title, the board, -bg, "#22aa44", -geometry, 160x120+40+30]
"""

PROFILE = f"""
    version: 1
    displays:
      desk: {{resolution: 640x360}}
    apps:
      wall:
        display: desk
        command: [xclock, -title, wall, -bg, "#aa2222", -geometry, 130x360+510+0]{CLOCK.rstrip()}
    obs:
      studio:
        canvas: {CANVAS[0]}x{CANVAS[1]}
        fps: 10
        scenes: [main]
    scenes:
      main:
        items:
          - name: one
            screen: {{display: desk, cursor: false, window: {{title: Board, class: XClock}}}}
"""


@pytest.fixture(autouse=True)
def _more_needed() -> None:
    for program in ("obs", "Xvfb", "xclock"):
        need(program)


def _move(authority: Path, display: str, x: int, y: int, width: int, height: int) -> None:
    async def move() -> None:
        async with await XConnection.open(display, authority) as server:
            (board,) = await find_windows(server, title="the board")
            await server.send(12, 0, struct.pack("<IHHiiII", board.id, 0xF, 0, x, y, width, height))
            await server.round_trip()

    asyncio.run(move())


@pytest.mark.timeout(300)
def test_a_window_is_followed_and_nothing_else_of_its_display_is_ever_shown(host: Host) -> None:
    studio = Instance(host)
    host.write(PROFILE)
    host.up()

    def shows(inside: tuple[int, int], outside: tuple[int, int]) -> bool:
        """The board's colour up to a corner, and nothing beyond it; at no time the wall's."""
        found = [studio.pixel(*point, "main", CANVAS) for point in ((3, 3), inside, outside)]
        assert not any(near(pixel, *WALL, by=10) for pixel in found)
        return near(found[0], *BOARD) and near(found[1], *BOARD) and near(found[2], *NOTHING)

    host.until(lambda: studio.is_true("Ready"), "ready", within=60)
    host.until(lambda: shows((157, 117), (170, 60)), "the board, as large as it is")
    assert not studio.is_true("Degraded")
    before = studio.pids()

    environ = Path(f"/proc/{host.pid('App/board/main')}/environ").read_bytes().decode().split("\0")
    given = dict(entry.partition("=")[::2] for entry in environ)
    _move(Path(given["XAUTHORITY"]), given["DISPLAY"], 300, 200, 200, 100)
    host.until(lambda: shows((197, 97), (100, 110)), "the board, where it is now")
    assert host.cli("plan").returncode == 0

    host.edit("window: {title: Board, class: XClock}}", "window: {title: Board}, cut: {left: 100}}")
    host.until(lambda: shows((97, 97), (110, 50)), "the half of it")

    text = host.profile.read_text()
    begin = text.index("  board:")
    host.write(text[:begin].rstrip() + "\n" + text[text.index("obs:") :])
    host.until(lambda: studio.condition("Degraded")["reason"] == "WindowMissing", "it is missed")
    assert "there is no window of title 'Board'" in studio.condition("Degraded")["message"]
    assert near(studio.pixel(50, 50, "main", CANVAS), *NOTHING)

    host.write(text)
    host.until(lambda: shows((57, 117), (70, 50)), "the board is back, where it began")
    host.until(lambda: not studio.is_true("Degraded"), "and nothing is missed")
    assert studio.pids() == before

    os.kill(before["windows"], signal.SIGSTOP)
    host.until(
        lambda: studio.pids().get("windows") not in (None, before["windows"]), "a follower that hangs is replaced"
    )
    host.until(lambda: shows((57, 117), (70, 50)), "the board")
    assert studio.pids()["obs"] == before["obs"]
