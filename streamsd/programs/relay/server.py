"""The relay's loop: one thread, one epoll, sockets that never block."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamsd.programs.relay import nut
from streamsd.programs.relay.fanout import Cache, Client, Coded
from streamsd.programs.relay.meter import Meter
from streamsd.programs.relay.nut import NutFault, StreamHeader
from streamsd.programs.relay.progress import Progress
from streamsd.programs.relay.session import GATHER, Feed, Lane, Session
from streamsd.programs.relay.sockets import accept, listen
from streamsd.programs.relay.timeline import Timeline

_CHUNK = 256 * 1024
_CLOSING = 2.0
_EVERY = 1.0

_FOLLOW = 0.04
"""Seconds between two looks at the inputs that do not lead. They are read whenever the leading one (video) wakes us:
each waking costs more than what is done in it, and a sound's frame would come between any two pictures."""


@dataclass(slots=True)
class _Input:
    socket: socket.socket
    session: Session
    feed: Feed
    follows: bool = False


class Relay:
    """`inputs` and `output` are unix sockets that it makes (paths relative to the working directory are short enough
    for any directory). An encoder connects to one or several inputs; what one process sends is one programme. A newer
    encoder takes over from an older one."""

    def __init__(self, inputs: Sequence[Path], output: Path, report: Path, progress: Progress | None = None) -> None:
        self._report = report
        self._epoll = select.epoll()
        self._meter = Meter()
        self._timeline = Timeline()
        self._cache = Cache()
        self._headers: list[StreamHeader] = []
        self._preamble = b""
        self._live: Session | None = None
        self._gathering: list[Session] = []
        self._followers: list[_Input] = []
        self._followed = 0.0
        self._inputs: dict[int, _Input] = {}
        self._clients: dict[int, Client] = {}
        self._listeners = {listener.fileno(): listener for listener in map(listen, inputs)}
        self._output = listen(output)
        self._lost = 0
        self._paths = [*inputs, output]
        for fd in (*self._listeners, self._output.fileno()):
            self._epoll.register(fd, select.EPOLLIN)
        self._progress = progress
        if progress:
            self._paths.append(progress.path)
            self._epoll.register(progress.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then readers get what is queued for them, and the end."""
        waker, stop = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._epoll.register(waker, select.EPOLLIN)
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                self._tick(now)
                due = now + _EVERY
            happened = self._epoll.poll(max(0.0, self._deadline(due) - now))
            now = time.monotonic()
            for fd, events in happened:
                if fd == waker:
                    self._finish()
                    return
                self._event(fd, events, now)
            self._advance(now)

    def _event(self, fd: int, events: int, now: float) -> None:
        if fd in self._inputs:
            self._read(self._inputs[fd], now)
        elif fd in self._clients:
            self._client_event(fd, events)
        elif fd in self._listeners:
            self._accept_inputs()
        elif fd == self._output.fileno():
            self._accept_clients()
        elif self._progress:
            self._progress_event(self._progress, fd)

    def _progress_event(self, progress: Progress, fd: int) -> None:
        if fd == progress.fileno():
            for sock in accept(progress.listener):
                progress.add(sock)
                self._epoll.register(sock.fileno(), select.EPOLLIN)
        elif not progress.read(fd):
            self._epoll.unregister(fd)
            progress.remove(fd)

    def _deadline(self, due: float) -> float:
        if self._followers:
            due = min(due, self._followed + _FOLLOW)
        for session in self._gathering:
            if session.since is not None:
                due = min(due, session.since + GATHER)
        return due

    # Encoders

    def _accept_inputs(self) -> None:
        """All of them: an encoder opens every output before it writes to any, so once its first byte is read, all
        its connections are in the listeners' queues."""
        for listener in self._listeners.values():
            for sock in accept(listener):
                peer = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                session = next((s for s in self._gathering if s.peer == peer), None)
                if session is None:
                    session = Session(peer)
                    self._gathering.append(session)
                self._inputs[sock.fileno()] = _Input(sock, session, session.add())
                self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _read(self, source: _Input, now: float) -> None:
        try:
            data = source.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop_input(source)
            return
        if not source.session.begun:
            self._accept_inputs()
        try:
            source.session.feed(source.feed, data, now)
        except NutFault as fault:
            _say("input-refused", f"{fault} (from pid {source.session.peer})")
            self._drop_input(source)

    def _drop_input(self, source: _Input) -> None:
        if source.follows:
            self._followers.remove(source)
        else:
            self._epoll.unregister(source.socket.fileno())
        del self._inputs[source.socket.fileno()]
        source.socket.close()
        source.feed.ended = True

    def _advance(self, now: float) -> None:
        """Let sessions begin, and frames leave."""
        for session in list(self._gathering):
            if session.gathered(now):
                self._gathering.remove(session)
                self._begin(session, now)
            elif session.ended:
                self._gathering.remove(session)
        live = self._live
        if live is None:
            return
        for source in list(self._followers):
            self._read(source, now)
        self._followed = now
        if live.grown:
            self._grow(live)
        self._emit(live, now)
        if live.ended:
            self._timeline.settle()
            self._live = None
            # Whoever joins while there is no encoder starts with the next one, not with what is past.
            self._cache.clear()

    def _begin(self, session: Session, now: float) -> None:
        if self._live:
            for source in [i for i in self._inputs.values() if i.session is self._live]:
                self._drop_input(source)
            self._emit(self._live, now)
        lanes = session.begin()
        self._live = session
        for source in self._inputs.values():
            if source.session is session and not session.leads(source.feed):
                self._epoll.unregister(source.socket.fileno())
                source.follows = True
                self._followers.append(source)
        first = [lane.first or 0 for lane in lanes]
        self._timeline.splice([lane.track for lane in lanes], first, session.since or now)
        self._announce(lanes)
        self._meter.sessions += 1
        self._meter.encoder_pid = session.peer

    def _grow(self, session: Session) -> None:
        """A stream of the running session came alive late."""
        known = session.lanes
        for lane in session.begin():
            if lane not in known:
                self._timeline.join(lane.track)
        self._announce(session.lanes)

    def _announce(self, lanes: Sequence[Lane]) -> None:
        """Tell what streams there are from now on. Readers of other streams are let go: they come back for these."""
        headers = [lane.track.header for lane in lanes]
        same = len(headers) == len(self._headers) and all(
            new.same_program(old) for new, old in zip(headers, self._headers, strict=True)
        )
        self._cache.clear()
        self._meter.streams = headers
        if same:
            # Whoever joins from now on gets the newest parameter sets; whoever reads already finds them in band.
            self._headers, self._preamble = headers, nut.preamble(headers)
            return
        for client in list(self._clients.values()):
            if client.greeted:
                self._let_go(client)
        self._headers, self._preamble = headers, nut.preamble(headers)
        for client in list(self._clients.values()):
            if not client.greeted:
                self._greet(client)

    def _emit(self, session: Session, now: float) -> None:
        """Send what came, as one piece, broken only where a reader may begin."""
        parts: list[bytes] = []
        start = False
        for lane, frame in session.take():
            ticks = lane.track.place(frame.pts)
            if lane.number < 0 or ticks < 0:
                continue
            lane.track.note(ticks)
            if lane.number == 0:
                self._meter.frame(frame.key, ticks / lane.track.header.den, now)
                if frame.key:
                    self._send(parts, start)
                    parts, start = [], True
            self._meter.bytes += len(frame.payload)
            parts.append(nut.frame(lane.number, ticks, frame.key, frame.payload))
        self._send(parts, start)

    def _send(self, parts: list[bytes], start: bool) -> None:
        if not parts:
            return
        coded = Coded(b"".join(parts), start, len(parts))
        self._cache.add(coded)
        for client in list(self._clients.values()):
            was = client.behind
            try:
                client.offer(coded)
            except OSError:
                self._forget(client)
                continue
            if client.behind and not was:
                self._epoll.modify(client.socket.fileno(), select.EPOLLOUT | select.EPOLLRDHUP)

    # Readers

    def _accept_clients(self) -> None:
        for sock in accept(self._output):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
            client = Client(sock)
            self._clients[sock.fileno()] = client
            self._epoll.register(sock.fileno(), select.EPOLLRDHUP)
            if self._preamble:
                self._greet(client)

    def _greet(self, client: Client) -> None:
        client.greet(self._preamble, self._cache)
        self._drain(client)

    def _client_event(self, fd: int, events: int) -> None:
        client = self._clients[fd]
        if events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
            self._forget(client)
        elif events & select.EPOLLOUT:
            self._drain(client)

    def _drain(self, client: Client) -> None:
        try:
            client.drain()
        except OSError:
            self._forget(client)
            return
        if client.behind:
            self._epoll.modify(client.socket.fileno(), select.EPOLLOUT | select.EPOLLRDHUP)
        elif client.closing is not None:
            self._forget(client)
        else:
            self._epoll.modify(client.socket.fileno(), select.EPOLLRDHUP)

    def _let_go(self, client: Client) -> None:
        client.closing = time.monotonic() + _CLOSING
        self._drain(client)

    def _forget(self, client: Client) -> None:
        fd = client.socket.fileno()
        self._epoll.unregister(fd)
        del self._clients[fd]
        self._lost += client.dropped
        client.socket.close()

    def _tick(self, now: float) -> None:
        for client in list(self._clients.values()):
            if client.closing is not None and now > client.closing:
                self._forget(client)
        dropped = self._lost + sum(client.dropped for client in self._clients.values())
        speed = self._progress.figures() if self._progress else {}
        self._meter.write(
            self._report, now, clients=len(self._clients), dropped=dropped, live=self._live is not None, encoder=speed
        )

    def _finish(self) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)
        if self._live:
            self._emit(self._live, time.monotonic())
        for client in list(self._clients.values()):
            self._let_go(client)
        until = time.monotonic() + _CLOSING
        while self._clients and (left := until - time.monotonic()) > 0:
            for fd, events in self._epoll.poll(left):
                if fd in self._clients:
                    self._client_event(fd, events)
                elif fd in self._inputs:
                    self._drop_input(self._inputs[fd])
                else:
                    self._epoll.unregister(fd)


def _say(event: str, message: str) -> None:
    print(f"{event}: {message}", file=sys.stderr, flush=True)
