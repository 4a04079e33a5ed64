"""A webhook: batches of results in POST requests."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import HttpSink
from streamsd.flow.spec.sources import BINARY
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.network import client_context
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import Parcels

_KINDS = {
    "json": "application/x-ndjson",
    "csv": "text/csv",
    "msgpack": "application/x-msgpack",
    "text": "text/plain",
    "raw": "application/octet-stream",
}
_MOST_BODY = 4 * 1024 * 1024
"""Bytes of results in one request, but for a single result that is longer."""


class HttpOutlet(Outlet):
    """A request is sent again until the answer is 2xx: whoever receives it may get it twice. The connection is kept."""

    def __init__(self, spec: HttpSink, format: str, sealed: bool, place: Place) -> None:
        self._spec = spec
        self._kind = "application/json" if spec.batch == 1 and format == "json" else _KINDS[format]
        self._end = b"" if format in BINARY and not sealed else b"\n"
        self._place = place
        self._url = urlsplit(spec.url)
        self._target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._connection: http.client.HTTPConnection | None = None
        self._parcels = Parcels(spec.batch, _MOST_BODY)
        self._requests = 0
        self._repeated = 0

    def start(self, position: Any) -> None:
        pass

    def write(self, batch: Batch) -> None:
        for parcel in self._parcels.put(batch.items):
            self._send(parcel)

    def flush(self) -> Any:
        if self._parcels:
            self._send(self._parcels.rest())
        return None

    def _send(self, items: Sequence[bytes]) -> None:
        body = items[0] if self._spec.batch == 1 else b"".join(item + self._end for item in items)
        headers = {"content-type": self._kind, "user-agent": "streamsd"}
        if self._spec.token is not None:
            headers["authorization"] = f"Bearer {self._spec.token.reveal()}"
        if self._spec.sign is not None:
            digest = hmac.new(self._spec.sign.reveal().encode(), body, hashlib.sha256).hexdigest()
            headers["x-signature-256"] = f"sha256={digest}"
        backoff = Backoff(0.2, 10.0)
        while True:
            try:
                status, words = self._request(body, headers)
                if 200 <= status < 300:
                    self.fault = ""
                    self._requests += 1
                    return
                self.fault = f"{self._url.netloc} answers {status} {words}"
            except (OSError, ssl.SSLError, http.client.HTTPException) as fault:
                self.fault = f"{self._url.netloc}: {fault or type(fault).__name__}"
                self._drop()
            self._repeated += 1
            self._place.life.pause(backoff.next())

    def _request(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        if self._connection is None:
            host, timeout = self._url.hostname or "", self._spec.timeout.seconds
            if self._url.scheme == "https":
                context = client_context(self._spec.tls, self._place.base) or ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, self._url.port, timeout=timeout, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, self._url.port, timeout=timeout)
        self._connection.request("POST", self._target, body, dict(headers))
        answer = self._connection.getresponse()
        answer.read(1 << 16)
        if answer.will_close or not answer.isclosed():
            self._drop()
        return answer.status, answer.reason

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def figures(self) -> Mapping[str, JsonValue]:
        return {"requests": self._requests, "repeated": self._repeated}

    def close(self) -> None:
        self._drop()
