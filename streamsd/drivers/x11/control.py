"""A running X display, measured and resized. Both are bounded in time: a server that hangs hangs nobody else."""

from __future__ import annotations

import asyncio

from streamsd.drivers.x11 import XDisplay
from streamsd.drivers.x11.randr import Size, set_size, size_of
from streamsd.runtime.probes.xwindows import Window, find_windows
from streamsd.runtime.probes.xwire import XConnection

_PATIENCE = 3.0
_GONE = (OSError, EOFError, ValueError, TimeoutError)


class DisplayFault(Exception):
    """The display did not answer in time, or said no."""


async def measure(display: XDisplay) -> Size:
    """The screen's size now. DisplayFault when it does not answer."""
    try:
        async with asyncio.timeout(_PATIENCE), await _open(display) as x:
            return size_of(x.screen)
    except _GONE as fault:
        raise DisplayFault(_words(display, fault)) from fault


async def resize(display: XDisplay, size: Size) -> None:
    """Set the screen's size; the server and its clients stay. DisplayFault when it does not take."""
    try:
        async with asyncio.timeout(_PATIENCE), await _open(display) as x:
            await set_size(x, size)
    except _GONE as fault:
        raise DisplayFault(_words(display, fault)) from fault


async def windows(display: XDisplay, *, title: str | None = None, wm_class: str | None = None) -> tuple[Window, ...]:
    """The display's mapped windows that fit, lowest first. DisplayFault when it does not answer."""
    try:
        async with asyncio.timeout(_PATIENCE), await _open(display) as x:
            return await find_windows(x, title=title, wm_class=wm_class)
    except _GONE as fault:
        raise DisplayFault(_words(display, fault)) from fault


async def _open(display: XDisplay) -> XConnection:
    return await XConnection.open(display.name, display.authority)


def _words(display: XDisplay, fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return f"{display.name} does not answer within {_PATIENCE:g}s"
    return f"{display.name}: {fault}" if str(fault) else f"{display.name} does not answer"
