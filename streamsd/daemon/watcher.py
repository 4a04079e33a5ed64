"""The watcher: says when a file that the profile was made of may have changed.

Editors write in place, rename over, or swap a `..data` link in a directory above. Watching a file itself misses all but
the first (measured), so the directories of every link in the chain are watched, and a slow rescan finds what no
event told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from watchfiles import awatch

from streamsd.document.files import Content, is_directory, read_regular

_STEP_MS = 50
"""How often watchfiles looks whether the kernel has told it something: at 20 that alone took 0.2 % of a core."""
_DEBOUNCE_MS = 100
_RESCAN = 2.0


class Watcher:
    """Calls `changed()` after a change; `watch(files)` says anew which files matter."""

    def __init__(self, changed: Callable[[], Awaitable[None]]) -> None:
        self._changed = changed
        self._files: frozenset[Path] = frozenset()
        self._seen: dict[Path, object] = {}
        self._renew = asyncio.Event()
        self._placed = asyncio.Event()

    def watch(self, files: Iterable[Path]) -> None:
        """These files, and the profile's directories among them. They have been read a moment ago: what was seen of
        them before that stands, and a file that is new here counts as changed once, or a save in that moment would be
        missed."""
        files = frozenset(files)
        self._seen = {path: self._seen.get(path) for path in files}
        if files != self._files:
            self._files = files
            self._renew.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events())
            group.create_task(self._rescans())

    async def _events(self) -> None:
        while True:
            self._renew.clear()
            places = sorted({place for path in self._files for place in _chain(path)})
            if not places:
                await self._renew.wait()
                continue
            stop = asyncio.Event()
            renewing = asyncio.get_running_loop().create_task(_then(self._renew, stop))
            self._placed.set()  # who waits for it looks once the watches stand: what was saved before gave no event
            try:
                async for _ in awatch(
                    *places,
                    watch_filter=None,
                    step=_STEP_MS,
                    debounce=_DEBOUNCE_MS,
                    recursive=False,
                    stop_event=stop,
                    ignore_permission_denied=True,
                ):
                    await self._look()
            except (OSError, RuntimeError):
                # a directory went while it was being watched, or the host has no watch left: the rescan goes on
                await asyncio.sleep(_RESCAN)
            finally:
                renewing.cancel()

    async def _rescans(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RESCAN):
                    await self._placed.wait()
            self._placed.clear()
            await self._look()

    async def _look(self) -> None:
        now = {path: _fingerprint(path) for path in self._files}
        if now != self._seen:
            self._seen = now
            await self._changed()


async def _then(first: asyncio.Event, second: asyncio.Event) -> None:
    await first.wait()
    second.set()


def _fingerprint(path: Path) -> object:
    """Changes whenever the content may have; for a directory, its names."""
    try:
        if is_directory(path):
            return tuple(sorted(entry.name for entry in path.iterdir()))
    except OSError as error:
        return error.errno
    # the content itself: two writes within one tick of the kernel's clock leave the same times. Read as the profile
    # is: a pipe that a profile names would hold up the daemon, a device fill its memory
    found = read_regular(path)
    return hashlib.blake2b(found.data).digest() if isinstance(found, Content) else found.reason


def _chain(path: Path) -> set[Path]:
    """The directories to watch for a file: of the path itself and of every link it goes through."""
    places: set[Path] = set()
    current = Path(path.anchor)
    waiting = list(path.parts[1:])
    for _ in range(200):  # a loop of links ends here
        if not waiting:
            break
        step = current / waiting.pop(0)
        target = _target(step)
        if target is not None:
            places.add(current)
            waiting = [*(target.parts[1:] if target.is_absolute() else target.parts), *waiting]
            if target.is_absolute():
                current = Path(target.anchor)
        elif step.name == "..":
            current = current.parent
        else:
            current = step
    # the nearest directory that exists: a missing file is waited for there
    place = current if is_directory(current) else current.parent
    while not is_directory(place) and place != place.parent:
        place = place.parent
    places.add(place)
    return {p for p in places if is_directory(p)}


def _target(path: Path) -> Path | None:
    """Where a link leads; None for what is none, or what we may not look at: a name too long, another user's place."""
    try:
        return path.readlink()
    except (OSError, ValueError):
        return None
