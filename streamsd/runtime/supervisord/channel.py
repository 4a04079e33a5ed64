"""The controller's end of the control socket: pipelined calls, and what supervisord tells unasked."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamsd.core.runtime import RuntimeFault
from streamsd.runtime.supervisord.wire import CONTROL_SOCKET, MAX_LINE, Operation, UnitWire


class Channel:
    """One connection. `lost` is called once, with a reason, when it ends by anything but `close`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        exited: Callable[[UnitWire], None],
        lost: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._exited = exited
        self._lost: Callable[[str], None] | None = lost
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._open = True
        self._task = asyncio.create_task(self._read(), name="streamsd-runtime-channel")

    @classmethod
    async def open(cls, directory: Path, exited: Callable[[UnitWire], None], lost: Callable[[str], None]) -> Channel:
        """OSError when nobody listens."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            path = f"/proc/self/fd/{fd}/{CONTROL_SOCKET}"
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
        finally:
            os.close(fd)
        return cls(reader, writer, exited, lost)

    @property
    def is_open(self) -> bool:
        return self._open

    async def call(self, operation: Operation, **fields: Any) -> Any:
        """The result. RuntimeFault: what supervisord answered, or RuntimeLost."""
        if not self._open:
            raise RuntimeFault("RuntimeLost", "the connection to supervisord is gone")
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            message = {"id": number, "op": operation, **fields}
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Let go; who still waits for an answer gets RuntimeLost."""
        self._lost = None
        self._end("the connection was closed")
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def abandon(self, reason: str) -> None:
        """As if the other side had gone."""
        self._task.cancel()
        self._end(reason)

    async def _read(self) -> None:
        reason = "supervisord closed the connection"
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except (OSError, ValueError) as fault:
            reason = f"the connection to supervisord broke: {fault}"
        self._end(reason)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("event") == "exited":
            self._exited(message["unit"])
            return
        waiting = self._waiting.get(message.get("id", 0))
        if waiting is None or waiting.done():
            return  # its caller was cancelled meanwhile
        if message["ok"]:
            waiting.set_result(message.get("result"))
        else:
            waiting.set_exception(RuntimeFault(message["reason"], message["message"]))

    def _end(self, reason: str) -> None:
        if not self._open:
            return
        self._open = False
        self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RuntimeFault("RuntimeLost", reason))
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(reason)
