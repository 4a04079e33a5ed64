"""Bodies of requests: so large and no larger, and not for ever on their way."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamsd.core.answers import ErrorAnswer

MOST = 16 * 1024 * 1024
"""Bytes: a saved plan of ten thousand actions has a quarter of it."""
_WITHIN = 30.0
"""Seconds between two pieces of a body."""

_CLOSE = {"connection": "close"}
"""What of the body is still on its way is not waited for."""


class BoundedBodies:
    """Refuses a body that is too large, before it has been read, and one that stops coming."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size, whole = 0, False

        async def bounded() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()  # that the client goes: it may take its time
            try:
                message = await asyncio.wait_for(receive(), _WITHIN)
            except TimeoutError:
                raise _fault(408, f"no more of the body came within {_WITHIN:g} s") from None
            size += len(message.get("body", b""))
            if size > MOST:
                raise _too_large()
            whole = not message.get("more_body", False)
            return message

        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > MOST:
            fault = _too_large()
            await JSONResponse(ErrorAnswer(error="bad-request", message=fault.detail), 413, _CLOSE)(
                scope, receive, send
            )
            return
        await self._app(scope, bounded, send)


def _too_large() -> HTTPException:
    return _fault(413, f"the body has more than {MOST} bytes")


def _fault(status: int, message: str) -> HTTPException:
    """One that whoever parses the body lets pass, and that the application makes an answer of."""
    return HTTPException(status, message, _CLOSE)
