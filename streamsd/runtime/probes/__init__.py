"""Probes: one question each, asked of a running process by whoever watches it.

`asker(check, env=...)` gives the object that asks. One object a probe a process: some remember what they saw, since
"makes progress" means that something moved on. An ask never raises (but for being cancelled) and always ends within
its timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import assert_never

from streamsd.core.unit import (
    Check,
    CommandOk,
    FfmpegProgress,
    FileExists,
    FileGrows,
    HttpOk,
    NoComplaint,
    ProcessAlive,
    Reports,
    SocketAnswers,
    TcpPort,
    UnixSocket,
    XAnswers,
    XWindow,
)
from streamsd.runtime.probes.answer import Answer, Asker, Question
from streamsd.runtime.probes.commands import CommandSucceeds
from streamsd.runtime.probes.files import Exists, Grows, Reported, Uncriticised
from streamsd.runtime.probes.http import Answers
from streamsd.runtime.probes.processes import Lives
from streamsd.runtime.probes.progress import Advances, Progress, read_progress
from streamsd.runtime.probes.sockets import SocketTalks, TcpAccepts, UnixAccepts
from streamsd.runtime.probes.xserver import ServerAnswers, WindowIsThere

__all__ = ["Answer", "Asker", "Progress", "asker", "read_progress"]


def asker(check: Check, *, env: Mapping[str, str]) -> Asker:
    """What asks `check` of one process. `env`: the process's whole environment, for checks that run a command."""
    return _Bounded(_question(check, env))


def _question(check: Check, env: Mapping[str, str]) -> Question:
    match check:
        case ProcessAlive(seconds):
            return Lives(seconds)
        case FileGrows(pattern):
            return Grows(pattern)
        case FileExists(path):
            return Exists(path)
        case TcpPort(host, port):
            return TcpAccepts(host, port)
        case UnixSocket(path):
            return UnixAccepts(path)
        case SocketAnswers(path, ask, answer):
            return SocketTalks(path, ask, answer)
        case XAnswers(display, authority):
            return ServerAnswers(display, authority)
        case XWindow(display, authority, title, wm_class):
            return WindowIsThere(display, authority, title, wm_class)
        case FfmpegProgress(path):
            return Advances(path)
        case HttpOk(url, socket):
            return Answers(url, socket)
        case CommandOk(argv):
            return CommandSucceeds(argv, env)
        case Reports(path):
            return Reported(path)
        case NoComplaint(path):
            return Uncriticised(path)
        case _:
            assert_never(check)


class _Bounded:
    """Turns what the world does to a question (it hangs, it refuses, it talks nonsense) into a no."""

    def __init__(self, question: Question) -> None:
        self._question = question

    async def ask(self, pid: int, timeout: float) -> Answer:
        try:
            async with asyncio.timeout(timeout):
                return await self._question.put(pid)
        except TimeoutError:
            return Answer(False, f"no answer within {timeout:g}s")
        except (OSError, EOFError, ValueError) as fault:
            return Answer(False, str(fault) or type(fault).__name__)
