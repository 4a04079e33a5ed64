"""Holds OBS's websocket on loopback: obs-websocket listens on every address, and has no setting for that.

The kernel stops each bind(2) of OBS and asks us (seccomp_unotify(2)); we write the loopback address over the one that
the websocket's listener names, and let the call go on. This is no prison: OBS does not resist. Where the kernel or a
container refuses it, OBS listens as it would, behind its password.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_RET_ALLOW, _RET_USER_NOTIF = 0x7FFF0000, 0x7FC00000
_NOTIF = struct.Struct("=QIIiIQ6Q")
"""struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, ip, args."""
_RESPONSE = struct.Struct("=QqiI")
"""struct seccomp_notif_resp: id, val, error, flags."""
_NOTIF_RECV = 3 << 30 | _NOTIF.size << 16 | ord("!") << 8
_NOTIF_SEND = 3 << 30 | _RESPONSE.size << 16 | ord("!") << 8 | 1
_CONTINUE = 1
_LOOPBACK = {
    socket.AF_INET: (4, socket.inet_aton("127.0.0.1")),
    # mapped: a socket for both families then takes those who come to 127.0.0.1
    socket.AF_INET6: (8, socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")),
}
"""By family: where the address is in a sockaddr, and the one to put there."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of one: AUDIT_ARCH_* and the system calls (asm/unistd.h)."""

    audit: int
    seccomp: int
    bind: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, 49),
    "aarch64": _Machine(0xC00000B7, 277, 200),
}


class Loopback:
    """`join` runs in OBS's process before it becomes OBS, `hold` in the launcher after that."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ours, self._its = socket.socketpair()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._machine = _MACHINES.get(platform.machine())

    def join(self) -> None:
        """From here on this process's listeners are asked about. Where that cannot be had nothing happens."""
        machine = self._machine
        if machine is None:
            return
        # BPF over struct seccomp_data: of this architecture, and bind(2)?
        code = [
            (0x20, 0, 0, 4),
            (0x15, 0, 3, machine.audit),
            (0x20, 0, 0, 0),
            (0x15, 0, 1, machine.bind),
            (0x06, 0, 0, _RET_USER_NOTIF),
            (0x06, 0, 0, _RET_ALLOW),
        ]
        text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
        program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(text)))
        self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        fd = self._libc.syscall(machine.seccomp, _SET_MODE_FILTER, _NEW_LISTENER, program)
        if fd >= 0:
            socket.send_fds(self._its, [b"."], [fd])
            os.close(fd)

    def hold(self) -> bool:
        """Answer for as long as OBS lives. Whether we are asked at all."""
        self._its.close()
        with self._ours:
            _, fds, _, _ = socket.recv_fds(self._ours, 1, 1)
        if not fds:
            return False
        threading.Thread(target=self._answer, args=(fds[0],), name="loopback", daemon=True).start()
        return True

    def _answer(self, listener: int) -> None:
        while True:
            asked = bytearray(_NOTIF.size)
            try:
                fcntl.ioctl(listener, _NOTIF_RECV, asked, True)
            except OSError as fault:
                if fault.errno in (errno.ENOENT, errno.EINTR) and not _left(listener):
                    continue  # who asked was killed or interrupted meanwhile: others will ask
                os.close(listener)  # whoever asks from here on is told so, and does not wait for ever
                return
            call, pid, _, _, _, _, _, address, length, *_ = _NOTIF.unpack(asked)
            with suppress(OSError, OverflowError):  # an address that is none
                self._rewrite(pid, address, length)
            with suppress(OSError):  # it was killed while we looked
                fcntl.ioctl(listener, _NOTIF_SEND, _RESPONSE.pack(call, 0, 0, _CONTINUE))

    def _rewrite(self, pid: int, address: int, length: int) -> None:
        with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(address)
            found = memory.read(min(length, 28)) or b""
            if len(found) < 8:
                return
            family, port = struct.unpack_from("=H", found)[0], struct.unpack_from("!H", found, 2)[0]
            if port == self._port and family in _LOOPBACK:
                offset, loopback = _LOOPBACK[family]
                memory.seek(address + offset)
                memory.write(loopback)


def _left(listener: int) -> bool:
    """Whether all who could ask have ended."""
    poll = select.poll()
    poll.register(listener, 0)
    return any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))
