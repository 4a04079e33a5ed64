"""An HTTP GET that reads no more than the status line."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from streamsd.runtime.probes.answer import Answer

_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})[ \r\n]")


class Answers:
    """GET answers 200-399. `socket`: asked over this unix socket instead of the URL's host."""

    def __init__(self, url: str, socket: Path | None) -> None:
        self._url = urlsplit(url)
        self._socket = socket

    async def put(self, pid: int) -> Answer:
        reader, writer = await self._connect()
        try:
            writer.write(self._request())
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.transport.abort()  # what else it has to say is of no interest
        match = _STATUS.match(line)
        if not match:
            return Answer(False, "answers, but not in HTTP")
        status = int(match[1])
        return Answer(200 <= status < 400, f"answers {status}", {"http_status": status})

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._socket is not None:
            return await asyncio.open_unix_connection(str(self._socket))
        secure = self._url.scheme == "https"
        return await asyncio.open_connection(
            self._url.hostname,
            self._url.port or (443 if secure else 80),
            ssl=ssl.create_default_context() if secure else None,
        )

    def _request(self) -> bytes:
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        host = self._url.netloc.rpartition("@")[2]
        return f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: streamsd\r\nConnection: close\r\n\r\n".encode()
