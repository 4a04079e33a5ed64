"""An X screen's size, read and changed while its clients go on: RandR, spoken over our own connection.

From "The X Resize, Rotate and Reflect Extension, version 1.5" (X.Org). What `xrandr --newmode WxH 0 W W W W H H H H;
--addmode screen WxH; --output screen --mode WxH` does, in one connection that a timeout bounds. Xvfb takes any size up
to the one that it started with.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from streamsd.core.units import Resolution
from streamsd.runtime.probes.xwire import Screen, XConnection, XFault

_MM_PER_INCH = 25.4
_ROTATE_0 = 1

# minor opcodes
_QUERY_VERSION, _SET_SCREEN_SIZE, _GET_RESOURCES, _GET_OUTPUT = 0, 7, 8, 9
_CREATE_MODE, _ADD_OUTPUT_MODE, _GET_CRTC, _SET_CRTC = 16, 18, 20, 21
_QUERY_EXTENSION, _GRAB_SERVER, _UNGRAB_SERVER = 98, 36, 37


@dataclass(frozen=True, slots=True)
class Size:
    """A screen's size. Millimetres say its density to programs; nothing is ever that large."""

    resolution: Resolution
    width_mm: int
    height_mm: int

    @classmethod
    def at(cls, resolution: Resolution, dpi: int) -> Size:
        """The size with millimetres for `dpi` dots an inch."""
        width, height = (max(1, round(p * _MM_PER_INCH / dpi)) for p in (resolution.width, resolution.height))
        return cls(resolution, width, height)

    @property
    def millimetres(self) -> str:
        return f"{self.width_mm}x{self.height_mm}"


def size_of(screen: Screen) -> Size:
    """The size that the server told this connection when it was set up."""
    return Size(Resolution(screen.width, screen.height), screen.width_mm, screen.height_mm)


@dataclass(frozen=True, slots=True)
class _Resources:
    stamp: int
    crtc: int
    output: int
    modes: dict[str, int]
    """By name; of equal names the newest."""


async def set_size(x: XConnection, size: Size) -> None:
    """Make the screen so large. XFault when the server has no RandR or does not take the size."""
    opcode = await _extension(x)
    root = x.screen.root
    await x.ask(opcode, _QUERY_VERSION, struct.pack("<II", 1, 5))
    await x.send(_GRAB_SERVER)  # nobody sees the moment in which the screen is off
    try:
        resources = await _resources(x, opcode)
        mode = resources.modes.get(str(size.resolution)) or await _create_mode(x, opcode, size.resolution)
        if mode not in await _modes_of(x, opcode, resources):
            await x.send(opcode, _ADD_OUTPUT_MODE, struct.pack("<II", resources.output, mode))
        before = await _crtc_mode(x, opcode, resources)
        await _set_crtc(x, opcode, resources, 0)
        try:
            await x.send(
                opcode,
                _SET_SCREEN_SIZE,
                struct.pack(
                    "<IHHII", root, size.resolution.width, size.resolution.height, size.width_mm, size.height_mm
                ),
            )
            await x.round_trip()  # the server's no is told here
        except XFault:
            await _set_crtc(x, opcode, resources, before)
            raise
        await _set_crtc(x, opcode, resources, mode)
    finally:
        await x.send(_UNGRAB_SERVER)
        await x.round_trip()


async def _extension(x: XConnection) -> int:
    name = b"RANDR"
    reply = await x.ask(_QUERY_EXTENSION, 0, struct.pack("<H2x", len(name)) + name)
    if not reply[8]:
        raise XFault("the X server has no RandR")
    return reply[9]


async def _resources(x: XConnection, opcode: int) -> _Resources:
    reply = await x.ask(opcode, _GET_RESOURCES, struct.pack("<I", x.screen.root))
    stamp, crtcs, outputs, modes = struct.unpack_from("<4xIHHH", reply, 8)
    if not crtcs or not outputs:
        raise XFault("the X screen has no output")
    at = 32
    crtc = struct.unpack_from("<I", reply, at)[0]
    at += 4 * crtcs
    output = struct.unpack_from("<I", reply, at)[0]
    at += 4 * outputs
    infos = [struct.unpack_from("<IHH18xH4x", reply, at + 32 * i) for i in range(modes)]
    at += 32 * modes
    names: dict[str, int] = {}
    for id_, width, height, length in infos:
        if reply[at : at + length].decode("latin-1") == f"{width}x{height}":
            names[f"{width}x{height}"] = id_
        at += length
    return _Resources(stamp, crtc, output, names)


async def _modes_of(x: XConnection, opcode: int, resources: _Resources) -> tuple[int, ...]:
    reply = await x.ask(opcode, _GET_OUTPUT, struct.pack("<II", resources.output, resources.stamp))
    crtcs, modes = struct.unpack_from("<HH", reply, 26)
    return struct.unpack_from(f"<{modes}I", reply, 36 + 4 * crtcs)


async def _create_mode(x: XConnection, opcode: int, resolution: Resolution) -> int:
    name = str(resolution).encode()
    width, height = resolution.width, resolution.height
    # id, width, height, clock, horizontal (start, end, total, skew), vertical (start, end, total), name, flags: a
    # virtual screen has no beam, so that every number of it is the size.
    info = struct.pack(
        "<IHHIHHHHHHHHI", 0, width, height, 0, width, width, width, 0, height, height, height, len(name), 0
    )
    reply = await x.ask(opcode, _CREATE_MODE, struct.pack("<I", x.screen.root) + info + name)
    mode: int = struct.unpack_from("<I", reply, 8)[0]
    return mode


async def _crtc_mode(x: XConnection, opcode: int, resources: _Resources) -> int:
    reply = await x.ask(opcode, _GET_CRTC, struct.pack("<II", resources.crtc, resources.stamp))
    mode: int = struct.unpack_from("<I", reply, 20)[0]
    return mode


async def _set_crtc(x: XConnection, opcode: int, resources: _Resources, mode: int) -> None:
    """Show the mode on the output, or nothing (0). Timestamp 0 is the current time: no later change is undone."""
    outputs = struct.pack("<I", resources.output) if mode else b""
    head = struct.pack("<IIIhhIH2x", resources.crtc, 0, resources.stamp, 0, 0, mode, _ROTATE_0)
    reply = await x.ask(opcode, _SET_CRTC, head + outputs)
    if reply[1] != 0:
        raise XFault(f"the X server did not set the mode (status {reply[1]})")
