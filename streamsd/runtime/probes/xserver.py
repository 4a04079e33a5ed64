"""Questions that an X server answers."""

from __future__ import annotations

from pathlib import Path

from streamsd.runtime.probes.answer import Answer
from streamsd.runtime.probes.xwindows import find_windows
from streamsd.runtime.probes.xwire import XConnection


class ServerAnswers:
    """The X server takes a client with its cookie and does a round trip.

    The client stays: asked again, a round trip costs a quarter of a connection. Any fault ends it.
    """

    def __init__(self, display: str, authority: Path) -> None:
        self._display = display
        self._authority = authority
        self._x: XConnection | None = None

    async def put(self, pid: int) -> Answer:
        x, self._x = self._x, None
        if x is None:
            x = await XConnection.open(self._display, self._authority)
        try:
            await x.round_trip()
        except BaseException:
            x.close()
            raise
        self._x = x
        return Answer(True, "answers")


class WindowIsThere:
    """A window with the title, or class, is mapped."""

    def __init__(self, display: str, authority: Path, title: str | None, wm_class: str | None) -> None:
        self._display = display
        self._authority = authority
        self._title = title
        self._wm_class = wm_class

    async def put(self, pid: int) -> Answer:
        async with await XConnection.open(self._display, self._authority) as x:
            windows = await find_windows(x, title=self._title, wm_class=self._wm_class)
        if not windows:
            return Answer(False, f"no window with {self._words()} on {self._display}")
        return Answer(True, "its window is there", {"window": windows[-1].title, "window_id": windows[-1].id})

    def _words(self) -> str:
        wanted = {"title": self._title, "class": self._wm_class}
        return " and ".join(f"{name} {text!r}" for name, text in wanted.items() if text is not None) or "a title"
