"""Asking the daemon: HTTP over its unix socket.

HTTP/1.0, one connection a request, because then an answer is a head and what follows until the end: forty lines,
where http.client costs every command some 40 ms of imports.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from streamsd.cli.failure import Failure
from streamsd.core.settings import Settings
from streamsd.core.unix_socket import within_reach

Query = Mapping[str, str | int | None]


class _CutShort(Exception):
    """The answer ended before its end."""


class Client:
    """The daemon's API. Every call raises Failure: when no daemon answers, or with what it refused."""

    def __init__(self, settings: Settings, *, timeout: float = 300.0) -> None:
        """`timeout`: seconds until an answer begins. Stopping a whole profile takes its time."""
        self._settings = settings
        self._timeout = timeout

    def get(self, path: str, query: Query | None = None) -> Any:
        """The answer's JSON."""
        return self._ask("GET", path, query, None)

    def post(self, path: str, body: object = None, query: Query | None = None) -> Any:
        """The answer's JSON."""
        return self._ask("POST", path, query, {} if body is None else body)

    def lines(self, path: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """The objects of an NDJSON answer as they come; endless where the daemon follows."""
        with self._answer("GET", path, query, None, follows=True) as body:
            while line := body.readline():
                if not line.endswith(b"\n"):
                    raise _CutShort
                yield json.loads(line)

    def _ask(self, method: str, path: str, query: Query | None, body: object) -> Any:
        with self._answer(method, path, query, body) as answer:
            return json.loads(answer.read())

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Query | None, body: object, *, follows: bool = False
    ) -> Iterator[BinaryIO]:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = quote(path) + (f"?{urlencode(given)}" if given else "")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout)
            try:
                with within_reach(self._settings.api_socket) as near:
                    connection.connect(near)
                connection.sendall(_request(method, url, body))
                with connection.makefile("rb") as answer:
                    status = _read_head(answer)
                    if status >= 400:
                        raise _refusal(status, answer.read())
                    if follows:
                        connection.settimeout(None)
                    yield answer
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                raise self._nobody() from None
            except BlockingIOError:  # a unix socket whose queue is full
                raise Failure(
                    "the daemon takes no more connections now", "end some that others hold open", code="daemon-busy"
                ) from None
            except PermissionError:
                raise Failure(
                    f"you may not use the daemon's socket {self._settings.api_socket}",
                    "run the command as root or as the user who runs the daemon",
                    code="forbidden",
                ) from None
            except TimeoutError:
                raise Failure(
                    f"the daemon did not answer within {self._timeout:g} s",
                    "it may be busy or stopped: see its log",
                    code="daemon-silent",
                ) from None
            except (ConnectionError, _CutShort, json.JSONDecodeError):
                raise Failure(
                    "the daemon ended while it answered", "start it again with `streamsd up`", code="daemon-gone"
                ) from None

    def _nobody(self) -> Failure:
        return Failure(
            f"no daemon answers at {self._settings.api_socket}",
            "start one with `streamsd up`, or name another one's directory with --run-dir",
            code="daemon-not-running",
        )


def _request(method: str, url: str, body: object) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {url} HTTP/1.0\r\nHost: streamsd\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def _read_head(answer: BinaryIO) -> int:
    """Read to the body's first byte; the status."""
    first = answer.readline().split()
    if len(first) < 2 or not first[1].isdigit():
        raise _CutShort
    while (line := answer.readline()) != b"\r\n":
        if not line:
            raise _CutShort
    return int(first[1])


def _refusal(status: int, text: bytes) -> Failure:
    try:
        return Failure.from_answer(json.loads(text))
    except (ValueError, KeyError, TypeError):
        return Failure(f"the daemon answered {status} with no reason", code="bad-answer")


def resource_path(address: str) -> str:
    """`/v1/resources/Stream/desktop`. Failure when it is not an address."""
    return f"/v1/resources/{checked_address(address)}"


def checked_address(text: str) -> str:
    """The address as written. Failure when it is not of the form Kind/name."""
    from streamsd.core.address import Address

    try:
        address = Address.parse(text)
        if not address.kind[0].isupper():
            raise ValueError(f"not an address: {text!r} (a kind begins with a capital, such as Stream/desktop)")
        return str(address)
    except ValueError as fault:
        raise Failure(str(fault), "`streamsd status` lists the addresses there are", code="bad-address") from None
