"""`python -m streamsd.programs.windows --wanted windows.json --found found.json --control control`.

Follows windows of displays, told by the X server when one is moved, resized, raised, opened or closed, and writes what
OBS is to cut off so that just the window is left. The director is told of each change over its control socket; one that
starts later reads the file.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from streamsd.core.report import JsonValue, Report, write_report
from streamsd.programs.windows.place import Area, Wanted, cut_out, read_wanted
from streamsd.runtime.probes.xwindows import find_windows
from streamsd.runtime.probes.xwire import XConnection

WANTED_EVERY = 0.25
"""Seconds between looks at the file of what is wanted."""

LOOK_EVERY = 1.0
"""Seconds between looks without being told: a title changes without an event of the root window."""

SETTLE = 0.03
"""Seconds in which more is waited for: a window that is dragged tells of every step."""

BEAT_EVERY = 2.0
PATIENCE = 3.0
ANSWER_WITHIN = 10.0

Found = dict[str, JsonValue]


class Board:
    """What is known of each window, in a file and told to the director when it changes."""

    def __init__(self, found: Path, control: Path) -> None:
        self._path = found
        self._control = control
        self._known: dict[str, Found] = {}
        self._changed = asyncio.Event()

    def keep(self, names: Mapping[str, Wanted]) -> None:
        self._known = {name: known for name, known in self._known.items() if name in names}

    def say(self, name: str, found: Found) -> None:
        if self._known.get(name) != found:
            self._known[name] = found
            self._changed.set()

    async def tell(self) -> None:
        """For ever: write and tell."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self._write()
            except OSError as fault:
                print(f"{self._path}: {fault.strerror}", file=sys.stderr, flush=True)
                await asyncio.sleep(1.0)  # a full disk: what is known is written when it is not any more
                self._changed.set()
                continue
            with suppress(OSError, TimeoutError):  # no director: it reads the file when it starts
                async with asyncio.timeout(ANSWER_WITHIN):
                    await self._poke()

    def _write(self) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as out:
            json.dump(self._known, out)
        os.replace(part, self._path)

    async def _poke(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._control))
        try:
            writer.write(b'{"do": "windows"}\n')
            await writer.drain()
            await reader.readline()
        finally:
            writer.close()


def main() -> None:
    """The cookies are found by XAUTHORITY. Ends with SIGTERM and SIGINT, and at no fault of a display."""
    parser = argparse.ArgumentParser(prog="windows", description=__doc__)
    parser.add_argument("--wanted", type=Path, required=True, help="which windows, written anew when that changes")
    parser.add_argument("--found", type=Path, required=True, help="where to write what was found")
    parser.add_argument("--control", type=Path, required=True, help="the director's socket")
    parser.add_argument("--report", type=Path, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given.found.unlink(missing_ok=True)
    asyncio.run(_follow_all(given.wanted, Board(given.found, given.control), given.report))


class _Version(NamedTuple):
    inode: int
    changed_ns: int


def _version(path: Path) -> _Version:
    status = path.stat()
    return _Version(status.st_ino, status.st_mtime_ns)


async def _beat(report: Path) -> None:
    """For ever: say that it lives. While one hangs, OBS shows whatever is where a window was."""
    for beat in itertools.count():
        with suppress(OSError):  # a full disk must not end what runs
            write_report(report, Report(True, beat))
        await asyncio.sleep(BEAT_EVERY)


async def _follow_all(path: Path, board: Board, report: Path) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(board.tell())
        group.create_task(_beat(report))
        seen = _Version(0, 0)
        tasks: list[asyncio.Task[None]] = []
        while True:
            with suppress(OSError, ValueError, KeyError, TypeError):
                now = _version(path)
                if now != seen:
                    wanted, seen = read_wanted(path), now
                    for task in tasks:
                        task.cancel()
                    board.keep(wanted)
                    displays = dict.fromkeys(one.display for one in wanted.values())
                    tasks = [group.create_task(_follow(display, wanted, board)) for display in displays]
            await asyncio.sleep(WANTED_EVERY)


async def _follow(display: str, all_wanted: Mapping[str, Wanted], board: Board) -> None:
    """The windows of one display, for ever."""
    wanted = {name: one for name, one in all_wanted.items() if one.display == display}
    named = os.environ.get("XAUTHORITY")
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                x = await XConnection.open(display, Path(named) if named else None)
            async with x:
                await x.watch(x.screen.root)
                while True:
                    async with asyncio.timeout(PATIENCE):
                        await _look(x, wanted, board)
                    if await x.told(LOOK_EVERY):
                        await asyncio.sleep(SETTLE)
        except (OSError, EOFError, ValueError, TimeoutError) as fault:
            words = f"{display}: {fault}" if str(fault) else f"{display} does not answer"
            for name in wanted:
                board.say(name, {"missing": words})
            await asyncio.sleep(WANTED_EVERY)


async def _look(x: XConnection, wanted: Mapping[str, Wanted], board: Board) -> None:
    # GetGeometry: the root window's size is the screen's, which may change while it runs.
    _, _, width, height = struct.unpack_from("<hhHH", await x.ask(14, 0, struct.pack("<I", x.screen.root)), 12)
    every = await find_windows(x)
    for name, one in wanted.items():
        fitting = [window for window in every if window.fits(one.title, one.wm_class)]
        if not fitting:
            board.say(name, {"missing": f"there is no window of {one.words} on {one.display}"})
            continue
        window = fitting[-1]
        cut = cut_out(Area(window.x, window.y, window.width, window.height), (width, height), one.cut)
        if cut is None:
            board.say(name, {"missing": f"the window of {one.words} is outside the screen of {one.display}"})
        else:
            board.say(name, {"server": one.display, **cut})


if __name__ == "__main__":
    main()
