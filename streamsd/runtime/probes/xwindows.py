"""The windows of an X display: found by title and class, with where they are."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from streamsd.runtime.probes.xwire import XConnection, XFault

_WM_CLASS, _WM_NAME, _ANY = 67, 39, 0
_VIEWABLE = 2
_DEPTH = 3
"""How deep below the root a program's own windows are looked for: a window manager frames them once or twice."""


@dataclass(frozen=True, slots=True)
class Window:
    """A mapped window of a program. Place and size in pixels, relative to the root; texts are empty if it has none."""

    id: int
    title: str
    instance: str
    wm_class: str
    x: int
    y: int
    width: int
    height: int

    def fits(self, title: str | None, wm_class: str | None) -> bool:
        """Whether the title contains `title` and class or instance is `wm_class` (each if given, in any case)."""
        if title is not None and title.lower() not in self.title.lower():
            return False
        return wm_class is None or wm_class.lower() in (self.wm_class.lower(), self.instance.lower())


async def find_windows(x: XConnection, *, title: str | None = None, wm_class: str | None = None) -> tuple[Window, ...]:
    """The mapped windows that fit, in stacking order, lowest first. Windows with neither title nor class are left
    out: they are parts and frames of others."""
    net_wm_name = await _atom(x, b"_NET_WM_NAME")
    found: list[Window] = []
    async for id_ in _mapped(x, x.screen.root, _DEPTH):
        try:
            window = await _look_at(x, id_, net_wm_name)
        except XFault:
            continue  # it was closed meanwhile
        if (window.title or window.wm_class) and window.fits(title, wm_class):
            found.append(window)
    return tuple(found)


async def _mapped(x: XConnection, parent: int, depth: int) -> AsyncIterator[int]:
    try:
        reply = await x.ask(15, 0, struct.pack("<I", parent))  # QueryTree
    except XFault:
        return
    for child in struct.unpack_from(f"<{struct.unpack_from('<H', reply, 16)[0]}I", reply, 32):
        try:
            attributes = await x.ask(3, 0, struct.pack("<I", child))  # GetWindowAttributes
        except XFault:
            continue
        if attributes[26] != _VIEWABLE:
            continue
        yield child
        if depth > 1:
            async for inner in _mapped(x, child, depth - 1):
                yield inner


async def _look_at(x: XConnection, id_: int, net_wm_name: int) -> Window:
    text = (await _property(x, id_, net_wm_name)).decode("utf-8", "replace")
    text = text or (await _property(x, id_, _WM_NAME)).decode("latin-1")
    instance, _, wm_class = (await _property(x, id_, _WM_CLASS)).decode("latin-1").partition("\0")
    geometry = await x.ask(14, 0, struct.pack("<I", id_))
    width, height = struct.unpack_from("<HH", geometry, 16)
    place = await x.ask(40, 0, struct.pack("<IIhh", id_, x.screen.root, 0, 0))  # TranslateCoordinates
    left, top = struct.unpack_from("<hh", place, 12)
    return Window(id_, text.rstrip("\0"), instance, wm_class.rstrip("\0"), left, top, width, height)


async def _property(x: XConnection, id_: int, name: int) -> bytes:
    reply = await x.ask(20, 0, struct.pack("<IIIII", id_, name, _ANY, 0, 256))
    items: int = struct.unpack_from("<I", reply, 16)[0]
    return reply[32 : 32 + items * (reply[1] // 8)]


async def _atom(x: XConnection, name: bytes) -> int:
    atom: int = struct.unpack_from("<I", await x.ask(16, 0, struct.pack("<H2x", len(name)) + name), 8)[0]
    return atom
