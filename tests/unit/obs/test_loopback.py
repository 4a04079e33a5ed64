"""What holds the websocket on loopback: nobody who asks waits for ever."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from streamsd.programs.obs_launch.loopback import Loopback


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EINTR])
def test_a_process_killed_while_it_asks_does_not_end_the_answers(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    faults = [number, number, errno.EBADF]
    listener, other = os.pipe()

    def ioctl(*_: object) -> int:
        raise OSError(faults.pop(0), "")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    Loopback(4455)._answer(listener)
    os.close(other)
    assert not faults
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(listener)  # so that the kernel refuses who asks from here on
