"""The server itself: one connection, one task."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from streamsd.programs.webserver import pages
from streamsd.programs.webserver.files import OpenFile, Published, byte_range, is_directory, open_below, published
from streamsd.programs.webserver.http import LIMIT, BadRequest, Request, Response, head, read_request

_SEND_SECONDS = 60.0
_CONNECTIONS = 512

_HTML = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # Our own scripts only; pictures and sound come through MediaSource, which has blob: addresses.
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
}
_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Content-Length, Content-Range"}
_METHODS = "GET, HEAD, OPTIONS"


@dataclass(slots=True)
class WebServer:
    """Serves what is below `root`. Media may be read by pages of any origin; there is nothing else to read."""

    root: Path
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, host: str, port: int) -> asyncio.Server:
        """OSError when the address cannot be had."""
        return await asyncio.start_server(self._connection, host, port, limit=LIMIT, backlog=256)

    def close_connections(self) -> None:
        for writer in self._open:
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _CONNECTIONS:
            writer.close()
            return
        self._open.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, TimeoutError):
            pass  # the viewer left, or takes nothing any more
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. Whether the connection goes on."""
        try:
            request = await read_request(reader)
        except BadRequest as bad:
            await _send(writer, Response(bad.status), keep_alive=False, body=True)
            return False
        if request is None:
            return False
        body = request.method != "HEAD"
        file = None
        if request.method == "OPTIONS":
            answer = Response(
                HTTPStatus.NO_CONTENT,
                headers={
                    **_ANY_ORIGIN,
                    "Access-Control-Allow-Methods": _METHODS,
                    "Access-Control-Allow-Headers": "Range",
                },
            )
        elif request.method not in ("GET", "HEAD"):
            answer = Response(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": _METHODS})
        else:
            found = self._find(request)
            if isinstance(found, OpenFile):
                file = found
            else:
                answer = found
        if file is None:
            await _send(writer, answer, keep_alive=request.keep_alive, body=body)
        else:
            try:
                await _send_file(writer, file, request, body=body)
            finally:
                os.close(file.fd)
        return request.keep_alive

    def _find(self, request: Request) -> OpenFile | Response:
        names = list(request.names)
        match names:
            case ["healthz"]:
                return Response(HTTPStatus.OK, b"ok\n", {"Content-Type": "text/plain", "Cache-Control": "no-store"})
            case ["favicon.ico"]:
                return Response(HTTPStatus.NO_CONTENT, headers={"Cache-Control": "max-age=86400"})
            case [""]:
                return Response(HTTPStatus.OK, pages.index(published(self.root)), _HTML)
            case ["_", *rest]:
                found = open_below(pages.STATIC, rest)
            case [stream, destination, ""] if is_directory(self.root, names[:2]):
                return Response(HTTPStatus.OK, pages.player(Published(stream, destination)), _HTML)
            case [_, destination] if is_directory(self.root, names):
                return Response(HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": f"{quote(destination)}/"})
            case _:
                found = open_below(self.root, names)
        return found or Response(HTTPStatus.NOT_FOUND, b"not found\n", {"Content-Type": "text/plain", **_ANY_ORIGIN})


async def _send(writer: asyncio.StreamWriter, response: Response, *, keep_alive: bool, body: bool) -> None:
    writer.write(head(response.status, response.headers, len(response.body), keep_alive))
    if body:
        writer.write(response.body)
    await asyncio.wait_for(writer.drain(), _SEND_SECONDS)


async def _send_file(writer: asyncio.StreamWriter, file: OpenFile, request: Request, *, body: bool) -> None:
    tag = f'"{file.size:x}-{int(file.modified * 1e6):x}"'
    headers = {
        "Content-Type": file.mime,
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(file.modified, usegmt=True),
        "ETag": tag,
        # Segments never change under their name; playlists always do.
        "Cache-Control": "no-store" if file.playlist else "public, max-age=60",
        **_ANY_ORIGIN,
    }
    if not file.playlist and request.headers.get("if-none-match") == tag:
        await _send(
            writer, Response(HTTPStatus.NOT_MODIFIED, headers=headers), keep_alive=request.keep_alive, body=False
        )
        return
    first, last, status = 0, file.size - 1, HTTPStatus.OK
    try:
        part = byte_range(request.headers["range"], file.size) if "range" in request.headers else None
    except ValueError:
        headers["Content-Range"] = f"bytes */{file.size}"
        unmet = Response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
        await _send(writer, unmet, keep_alive=request.keep_alive, body=body)
        return
    if part is not None:
        first, last = part
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    writer.write(head(status, headers, last - first + 1, request.keep_alive))
    await asyncio.wait_for(writer.drain(), _SEND_SECONDS)
    if body and last >= first:
        await _send_part(writer, file.fd, first, last - first + 1)


async def _send_part(writer: asyncio.StreamWriter, fd: int, offset: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    with os.fdopen(os.dup(fd), "rb") as source:
        sent = await asyncio.wait_for(loop.sendfile(writer.transport, source, offset, count), _SEND_SECONDS)
    if sent != count:
        raise ConnectionError("the file became shorter")
