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

_STEP_MS = 20
_DEBOUNCE_MS = 60
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
            except FileNotFoundError:
                await asyncio.sleep(_RESCAN)  # a directory went while it was being watched: the rescan goes on
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
        if path.is_dir():
            return tuple(sorted(entry.name for entry in path.iterdir()))
        # the content itself: two writes within one tick of the kernel's clock leave the same times
        return hashlib.blake2b(path.read_bytes()).digest()
    except OSError as error:
        return error.errno


def _chain(path: Path) -> set[Path]:
    """The directories to watch for a file: of the path itself and of every link it goes through."""
    places: set[Path] = set()
    current = Path(path.anchor)
    waiting = list(path.parts[1:])
    for _ in range(200):  # a loop of links ends here
        if not waiting:
            break
        step = current / waiting.pop(0)
        if step.is_symlink():
            places.add(current)
            target = step.readlink()
            waiting = [*(target.parts[1:] if target.is_absolute() else target.parts), *waiting]
            if target.is_absolute():
                current = Path(target.anchor)
        elif step.name == "..":
            current = current.parent
        else:
            current = step
    # the nearest directory that exists: a missing file is waited for there
    place = current if current.is_dir() else current.parent
    while not place.is_dir() and place != place.parent:
        place = place.parent
    places.add(place)
    return {p for p in places if p.is_dir()}
