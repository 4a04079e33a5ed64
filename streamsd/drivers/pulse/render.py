"""A PulseAudio server with one virtual device: its command line, its script, its cookie."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from streamsd.core.secret import Secret
from streamsd.core.unit import File
from streamsd.drivers.pulse import PulseDevice


def device(directory: Path, name: str, *, rate: int, channels: int) -> PulseDevice:
    """The device that a server in this private directory offers."""
    return PulseDevice(
        server=f"unix:{directory / 'native'}",
        sink=name,
        monitor=f"{name}.monitor",
        cookie=directory / "pulse-cookie",
        rate=rate,
        channels=channels,
        control=directory / "control",
    )


def argv(program: Path, directory: Path) -> tuple[str, ...]:
    """A server that reads no configuration but ours (`-n -F`), stays when nobody plays, and needs neither D-Bus nor
    systemd nor real-time rights. Without shared memory nothing of it is left when it is killed."""
    return (
        str(program),
        *("-n", "-F", str(directory / "server.pa")),
        *("--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"),
        *("--realtime=no", "--high-priority=no", "--disable-shm=yes"),
        *("--log-target=stderr", "--log-level=error"),
    )


def env(directory: Path) -> dict[str, str]:
    """Where the server may keep what it likes to keep: nowhere but here."""
    return {
        "HOME": str(directory),
        "XDG_RUNTIME_DIR": str(directory),
        "PULSE_RUNTIME_PATH": str(directory / "runtime"),
        "PULSE_STATE_PATH": str(directory / "state"),
    }


def script(directory: Path, own: PulseDevice, inputs: Sequence[PulseDevice]) -> File:
    """What the server loads, in this order: the socket comes last, so that whoever connects finds the device.

    Each of `inputs`, devices of other servers, becomes a source of this one under its own name: one client, such as
    OBS, can record them all.
    """
    lines = [f"load-module module-null-sink sink_name={own.sink} rate={own.rate} channels={own.channels}"]
    lines += [
        f"load-module module-tunnel-source server={other.server} source={other.monitor} source_name={other.sink}"
        f" rate={other.rate} channels={other.channels} cookie={other.cookie}"
        for other in inputs
    ]
    lines += [
        f"set-default-sink {own.sink}",
        f"set-default-source {own.monitor}",
        f"load-module module-cli-protocol-unix socket={own.control}",
        f"load-module module-native-protocol-unix socket={own.server.removeprefix('unix:')} auth-cookie={own.cookie}",
    ]
    return File(directory / "server.pa", "\n".join(lines) + "\n")


def cookie_file(own: PulseDevice, cookie: Secret) -> File:
    """PulseAudio's cookie: 256 bytes, drawn out of ours."""
    data = hashlib.shake_256(cookie.reveal().encode()).digest(256)
    return File(own.cookie, Secret(data.decode("latin-1")), encoding="latin-1")
