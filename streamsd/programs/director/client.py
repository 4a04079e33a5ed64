"""The connection to obs-websocket: connecting by obsws-python, requests and batches beside it.

One connection, one thread. Requests carry an id and answers are matched by it; events that arrive in between are kept.
After a timeout, a garbled frame or an answer that nobody asked for, the connection is gone: what follows on it could
belong to an earlier request (measured: obsws-python takes any answer for its own).
"""

from __future__ import annotations

import json
import logging
import select
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import websocket
from obsws_python.baseclient import ObsClient
from obsws_python.error import OBSSDKError

from streamsd.core.report import JsonValue

# obsws-python writes the password at INFO and tracebacks of refused connections at ERROR.
logging.getLogger("obsws_python").setLevel(logging.CRITICAL + 1)

EVENTS = 0x7FF
"""Every event that is not high-volume (obs-websocket 5 protocol, EventSubscription)."""

BATCH = 400
"""Requests in one batch: OBS answers a batch when all of it is done, and other messages wait meanwhile."""

NOT_READY = 207
"""OBS loads a collection, or is starting, and has done nothing (RequestStatus NotReady, from obs-websocket 5.3 on)."""

_ASK_AGAIN = 0.02
"""Seconds after which what was not ready is asked again; a collection is loaded in about 60 ms."""

_ENDED = "OBS closed the connection"
_CLOSED = "the connection to OBS is closed"

Data = dict[str, JsonValue]


class ConnectFault(Exception):
    """No connection: `reason` is NotListening, Unreachable, ConnectionLost, NotAnswering, WrongPassword or
    NotObs."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class ConnectionLost(Exception):
    """The connection ended, timed out or answered nonsense; it has been closed."""


class NoAnswer(ConnectionLost):
    """It ended because OBS did not answer in time. `asked`: when it was asked, on the monotonic clock."""

    def __init__(self, asked: float, message: str) -> None:
        self.asked = asked
        super().__init__(message)


class Wedged(NoAnswer):
    """It will never answer, and it is known why: it is to be started anew at once."""


class RequestFault(Exception):
    """OBS refused a request. `code` is obs-websocket's RequestStatus."""

    def __init__(self, request: str, code: int, comment: str) -> None:
        self.request = request
        self.code = code
        super().__init__(f"{request}: {comment or 'refused'} ({code})")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `data` as the protocol names it."""

    type: str
    data: Mapping[str, JsonValue] = field(default_factory=dict)

    @classmethod
    def of(cls, type: str, /, **data: JsonValue) -> Request:
        return cls(type, data)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request of a batch. `code` 100 is success."""

    data: Data
    code: int
    comment: str

    @property
    def ok(self) -> bool:
        return self.code == 100


@dataclass(frozen=True, slots=True)
class ObsEvent:
    type: str
    data: Data


def _words(fault: Exception) -> str:
    """The cause alone: websocket-client wraps what the resolver says."""
    inner = fault.args[0] if fault.args and isinstance(fault.args[0], OSError) else fault
    return (inner.strerror if isinstance(inner, OSError) else None) or str(inner) or type(inner).__name__


class Client:
    """A connected, identified client. Every method but `close` may raise ConnectionLost. What OBS is not ready for is
    asked again until it is; NoAnswer when it is not in time."""

    def __init__(self, ws: websocket.WebSocket, timeout: float) -> None:
        self._ws = ws
        self._timeout = timeout
        self._ids = count(1)
        self._events: deque[ObsEvent] = deque()
        self._open = True
        # In pure Python its check of UTF-8 takes three quarters of all the time of a large answer; decoding checks too.
        for part in (ws.frame_buffer, ws.cont_frame):
            part.skip_utf8_validation = True

    @classmethod
    def connect(cls, host: str, port: int, password: str, *, timeout: float = 10.0) -> Client:
        """Connect and identify. ConnectFault when nobody listens or the host cannot be reached, when the password is
        wrong or it is not OBS."""
        silent = f"OBS accepts connections at {host}:{port}, and says nothing"
        try:
            base = ObsClient(host=host, port=port, password=password, timeout=timeout, subs=EVENTS)  # type: ignore[no-untyped-call]  # no types there
        except (TimeoutError, websocket.WebSocketTimeoutException):
            raise ConnectFault("NotAnswering", silent) from None
        except (ConnectionRefusedError, FileNotFoundError):
            raise ConnectFault("NotListening", f"nobody listens at {host}:{port}") from None
        except (ConnectionError, websocket.WebSocketConnectionClosedException) as fault:
            raise ConnectFault("ConnectionLost", f"{host}:{port} ended the connection: {_words(fault)}") from None
        except (OSError, websocket.WebSocketAddressException) as fault:
            raise ConnectFault("Unreachable", f"{host}:{port} cannot be reached: {_words(fault)}") from None
        except websocket.WebSocketException:
            raise ConnectFault("NotObs", f"{host}:{port} does not speak obs-websocket") from None
        except ValueError:
            raise ConnectFault("NotObs", f"{host}:{port} does not speak obs-websocket") from None
        try:
            if "d" not in base.server_hello:
                raise ConnectFault("NotObs", f"{host}:{port} does not speak obs-websocket")
            base.authenticate()  # type: ignore[no-untyped-call]  # no types there
        except (OBSSDKError, websocket.WebSocketConnectionClosedException):
            # OBS closes with 4009 on a wrong password; obsws-python only says that it failed to identify.
            base.ws.close()
            raise ConnectFault("WrongPassword", f"{host}:{port} refused the password") from None
        except (TimeoutError, websocket.WebSocketTimeoutException):
            base.ws.shutdown()  # type: ignore[no-untyped-call]  # no types there
            raise ConnectFault("NotAnswering", silent) from None
        except (OSError, websocket.WebSocketException):
            base.ws.shutdown()  # type: ignore[no-untyped-call]  # no types there
            raise ConnectFault("NotListening", f"OBS ended the connection at {host}:{port} at once") from None
        except (KeyError, TypeError):
            base.ws.close()
            raise ConnectFault("NotObs", f"{host}:{port} does not speak obs-websocket 5") from None
        return cls(base.ws, timeout)

    def fileno(self) -> int:
        """For select. websocket-client reads no byte beyond the frame it returns, so select tells the truth."""
        return self._ws.sock.fileno() if self._ws.sock else -1

    def call(self, type: str, data: Mapping[str, JsonValue] | None = None, *, within: float | None = None) -> Data:
        """One request's answer, in this many seconds (else: in those of the connection). RequestFault when OBS
        refuses."""
        asked = time.monotonic()
        answer = self._call(type, data, within)
        while answer.code == NOT_READY:
            self._not_ready(asked, within)
            answer = self._call(type, data, within)
        if not answer.ok:
            raise RequestFault(type, answer.code, answer.comment)
        return answer.data

    def _call(self, type: str, data: Mapping[str, JsonValue] | None, within: float | None) -> Answer:
        id = self._id()
        self._send({"op": 6, "d": {"requestType": type, "requestId": id, "requestData": dict(data or {})}})
        return self._answer(self._wait(7, id, within))

    def batch(self, requests: Sequence[Request]) -> list[Answer]:
        """Serial batches, nothing halts on a failure: one answer for each request, in order."""
        answers: list[Answer] = []
        for start in range(0, len(requests), BATCH):
            part = requests[start : start + BATCH]
            asked = time.monotonic()
            found = self._batch(part)
            while waiting := [n for n, answer in enumerate(found) if answer.code == NOT_READY]:
                self._not_ready(asked, None)
                for n, answer in zip(waiting, self._batch([part[n] for n in waiting]), strict=True):
                    found[n] = answer
            answers.extend(found)
        return answers

    def _batch(self, part: Sequence[Request]) -> list[Answer]:
        id = self._id()
        bodies = [{"requestType": r.type, "requestData": dict(r.data)} for r in part]
        self._send({"op": 8, "d": {"requestId": id, "haltOnFailure": False, "executionType": 0, "requests": bodies}})
        results = self._wait(9, id).get("results")
        if not isinstance(results, list) or len(results) != len(part):
            raise self._lost("OBS answered only a part of what it was asked")
        return [self._answer(cast("Data", result)) for result in results]

    def _not_ready(self, asked: float, within: float | None) -> None:
        """Wait before it is asked again."""
        seconds = self._timeout if within is None else within
        if time.monotonic() - asked > seconds:
            self._lost("")
            raise NoAnswer(asked, f"OBS has not become ready within {seconds:g} s")
        time.sleep(_ASK_AGAIN)

    def events(self, wait: float = 0.0) -> list[ObsEvent]:
        """What happened since the last call; waits up to `wait` seconds for the first."""
        while self._readable(0.0 if self._events else wait):
            self._take(time.monotonic() + self._timeout, self._timeout)
        found = list(self._events)
        self._events.clear()
        return found

    def close(self) -> None:
        """Close with the protocol's handshake, so that OBS does not wait for it when it exits."""
        if self._open:
            self._open = False
            try:
                self._ws.close(timeout=1)
            except (OSError, websocket.WebSocketException):
                self._ws.shutdown()  # type: ignore[no-untyped-call]  # no types there

    def _id(self) -> str:
        return f"r{next(self._ids)}"

    def _readable(self, wait: float) -> bool:
        sock = self._ws.sock
        if not self._open or sock is None:
            raise ConnectionLost(_CLOSED)
        return bool(select.select([sock], [], [], wait)[0])

    def _send(self, message: Mapping[str, object]) -> None:
        if not self._open:
            raise ConnectionLost(_CLOSED)
        try:
            self._ws.settimeout(self._timeout)
            self._ws.send(json.dumps(message))
        except (OSError, websocket.WebSocketException):
            raise self._lost(_ENDED) from None

    def _wait(self, op: int, id: str, within: float | None = None) -> Data:
        seconds = self._timeout if within is None else within
        deadline = time.monotonic() + seconds
        while True:
            message = self._take(deadline, seconds)
            if message is None:
                continue
            body = message.get("d")
            if message.get("op") != op or not isinstance(body, dict) or body.get("requestId") != id:
                raise self._lost("OBS answered what it was not asked")
            return body

    def _take(self, deadline: float, seconds: float) -> Data | None:
        """The next message, or None when it was an event (kept). `seconds`: those that end at the deadline."""
        left = deadline - time.monotonic()
        # Looked at though the time is over: it may be us who were held up.
        if not self._readable(max(0.0, left)):
            self._lost("")
            raise NoAnswer(deadline - seconds, f"OBS did not answer within {seconds:g} s")
        raw: object = ""
        try:
            self._ws.settimeout(max(left, 0.1))
            raw = self._ws.recv()
            message = json.loads(raw)
        except (TimeoutError, websocket.WebSocketTimeoutException):
            self._lost("")
            raise NoAnswer(deadline - seconds, "OBS ended in the middle of its answer") from None
        except (OSError, websocket.WebSocketException):
            raise self._lost(_ENDED) from None
        except ValueError:
            raise self._lost(_ENDED if not raw else "OBS sent a frame that is not JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("d"), dict):
            raise self._lost("OBS sent a message without op and d")
        body = message["d"]
        if message.get("op") == 5:
            self._events.append(ObsEvent(str(body.get("eventType")), body.get("eventData") or {}))
            return None
        return message

    def _answer(self, body: Data) -> Answer:
        status = body.get("requestStatus")
        data = body.get("responseData") or {}
        if not isinstance(status, dict) or not isinstance(status.get("code"), int) or not isinstance(data, dict):
            raise self._lost("OBS gave an answer without a status")
        return Answer(data, cast("int", status["code"]), str(status.get("comment", "")))

    def _lost(self, why: str) -> ConnectionLost:
        self._open = False
        self._ws.shutdown()  # type: ignore[no-untyped-call]  # no types there
        return ConnectionLost(why)
