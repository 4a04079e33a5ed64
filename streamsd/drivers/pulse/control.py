"""A running sound device, measured and set through its server's own command line (module-cli-protocol).

The protocol marks no end of an answer, so each question ends with `dump`, whose last line is known.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from streamsd.drivers.pulse import PulseDevice

_PATIENCE = 3.0
_FULL = 65536
_DUMP = "### Configuration dump generated"
_END = b"### EOF\n"
STATE_QUESTION = ("dump\n", "### EOF")
"""What a server that lives is asked over its control socket, and what its answer holds."""
_COUNT = re.compile(r"^(\d+) (sink input|source output)\(s\) available", re.MULTILINE)


class SoundFault(Exception):
    """The sound server did not answer in time, or said no."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """`volume` in percent. `players` and `recorders`: streams to and from the server now."""

    volume: int
    muted: bool
    players: int
    recorders: int


async def measure(device: PulseDevice) -> DeviceState:
    """How the device stands. SoundFault when its server does not answer or has not the device."""
    answer = await _converse(device, "list-sink-inputs", "list-source-outputs")
    counts = {what: int(count) for count, what in _COUNT.findall(answer)}
    volume = re.search(rf"^set-sink-volume {re.escape(device.sink)} 0x([0-9a-f]+)$", answer, re.MULTILINE)
    muted = re.search(rf"^set-sink-mute {re.escape(device.sink)} (yes|no)$", answer, re.MULTILINE)
    if not volume or not muted:
        raise SoundFault(f"its server has no device {device.sink}")
    return DeviceState(
        volume=round(int(volume[1], 16) * 100 / _FULL),
        muted=muted[1] == "yes",
        players=counts.get("sink input", 0),
        recorders=counts.get("source output", 0),
    )


async def set_level(device: PulseDevice, *, volume: int, muted: bool) -> None:
    """Set volume (percent) and mute; whoever plays goes on. SoundFault when it does not take."""
    answer = await _converse(
        device,
        f"set-sink-volume {device.sink} {round(volume * _FULL / 100)}",
        f"set-sink-mute {device.sink} {int(muted)}",
    )
    complaint = answer.partition(_DUMP)[0].strip()
    if complaint:
        raise SoundFault(complaint)


async def _converse(device: PulseDevice, *commands: str) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_unix_connection(str(device.control))
            try:
                writer.write("".join(f"{command}\n" for command in (*commands, "dump")).encode())
                return (await reader.readuntil(_END)).decode("utf-8", "replace")
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise SoundFault(f"the sound server does not answer within {_PATIENCE:g}s") from None
    except (OSError, EOFError, asyncio.LimitOverrunError) as fault:
        raise SoundFault(f"the sound server does not answer: {fault}") from fault
