"""The director's loop: one thread, one connection, one selector."""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from streamsd.core.report import write_report
from streamsd.programs.director.client import (
    Client,
    ConnectFault,
    ConnectionLost,
    NoAnswer,
    Request,
    RequestFault,
    Wedged,
)
from streamsd.programs.director.collection import CollectionFile
from streamsd.programs.director.commands import Answer, Commands, Refusal
from streamsd.programs.director.control import Control, refusal
from streamsd.programs.director.inventory import inventory
from streamsd.programs.director.journal import Journal
from streamsd.programs.director.model import Desired, Studio
from streamsd.programs.director.overrides import Overrides
from streamsd.programs.director.patience import Patience
from streamsd.programs.director.readback import Reader, ReadFault
from streamsd.programs.director.report import findings_of, report_of, status_of
from streamsd.programs.director.session import Leaving, Session
from streamsd.programs.director.wish import Wish

CONNECT_PAUSE = 0.1
CONNECT_PAUSE_MOST = 2.0
REPORT_EVERY = 1.0
TIMEOUT = 10.0
ANSWER_WITHIN = 30.0
"""Seconds, while there is no document that says it."""


@dataclass(frozen=True, slots=True)
class Where:
    """`scenes`: OBS's `basic/scenes` directory, `complaint`: where to say that OBS hangs; both None for an OBS of
    somebody else's."""

    host: str
    port: int
    password_file: Path
    desired: Path
    state: Path
    report: Path
    control: Path
    windows: Path
    scenes: Path | None
    complaint: Path | None


class Director:
    """Runs until SIGTERM or SIGINT."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._selector = selectors.DefaultSelector()
        self._files = CollectionFile(where.scenes) if where.scenes else None
        self._wish = Wish(where.desired, where.state, where.windows)
        self._session: Session | None = None
        self._fault = ("Connecting", "not connected yet")
        self._journal = Journal()
        self._patience = Patience(where.complaint)
        self._next_connect = 0.0
        self._pause = CONNECT_PAUSE
        self._beat = 0
        self._next_report = 0.0
        self._stopping = False
        with suppress(OSError):
            where.report.unlink(missing_ok=True)  # what an earlier director said is over
        self._control = Control(where.control, self._selector, Commands(self).answer)

    def run(self) -> None:
        """Until asked to end."""
        wake, waker = os.pipe()
        os.set_blocking(waker, False)
        self._selector.register(wake, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(waker)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                try:
                    self._turn()
                except ConnectionLost as lost:
                    self.lost(lost)
                except Leaving:
                    self.lose("ObsExits", "OBS says that it exits")
        finally:
            self.lose("Stopped", "the director ended")
            self._control.close()
            self._selector.close()
            signal.set_wakeup_fd(-1)
            os.close(wake)
            os.close(waker)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _turn(self) -> None:
        now = time.monotonic()
        if self._session is None and now >= self._next_connect:
            self._connect()
        session = self._session
        if session is not None and self._wish.known is not None:
            session.take_events()
            try:
                if session.work(self._wish.effective, self._wish.owned):
                    self._remember()
                    self._judge(session)
            except ReadFault as fault:
                self._fault = ("NotSettled", str(fault))
        if time.monotonic() >= self._next_report:
            self._report()
        self._wait()

    def _wait(self) -> None:
        due = [self._next_report]
        if self._session is None:
            due.append(self._next_connect)
        elif self._wish.known is not None:
            due.append(self._session.next_due())
        for key, _ in self._selector.select(max(0.0, min(due) - time.monotonic())):
            if key.data is self._control:
                self._control.serve(key.fileobj)
            elif key.data == "obs" and self._session is not None:
                self._session.take_events()

    # ---- connection ---------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        where = self._where
        try:
            password = where.password_file.read_text().strip()
            asked = time.monotonic()
            client = Client.connect(where.host, where.port, password, timeout=self._timeout)
        except OSError as fault:
            self._later("NoPassword", f"{where.password_file.name}: {fault.strerror}")
            return
        except ConnectFault as fault:
            if fault.reason == "NotAnswering":
                self._patience.silent(asked, self._answer_within)
            else:
                self._patience.answered()
            self._later(fault.reason, str(fault))
            return
        try:
            is_local = self._files is not None or _is_local(where.host)
            self._session = Session(client, self._files, self._wish.kept, self._journal, is_local=is_local)
        except NoAnswer as silence:
            self._patience.silent(silence.asked, self._answer_within)
            self._later("NotAnswering", str(silence))
            return
        except ConnectionLost as lost:
            self._later("ConnectionLost", str(lost))
            return
        except RequestFault as fault:
            client.close()
            self._later("NotReady", f"OBS is still starting ({fault})")
            return
        self._pause = CONNECT_PAUSE
        self._selector.register(client.fileno(), selectors.EVENT_READ, "obs")
        self._say("connected", obs=self._session.obs_version)
        self._journal.note("obs-connected", {"obs_version": self._session.obs_version})
        self._next_report = 0.0

    def _later(self, reason: str, message: str) -> None:
        if self._fault[0] != reason:
            self._say("not-connected", reason=reason, message=message)
        self._fault = (reason, message)
        self._next_connect = time.monotonic() + self._pause
        self._pause = min(CONNECT_PAUSE_MOST, self._pause * 1.5)
        self._next_report = min(self._next_report, time.monotonic() + 0.2)

    def lost(self, lost: ConnectionLost) -> None:
        """The connection broke, or OBS does not answer."""
        if isinstance(lost, Wedged):
            self._patience.complain(str(lost))
            self.lose("NotAnswering", str(lost))
        elif isinstance(lost, NoAnswer):
            self._patience.silent(lost.asked, self._answer_within)
            self.lose("NotAnswering", str(lost))
        else:
            self._patience.answered()
            self.lose("ConnectionLost", str(lost))

    def _judge(self, session: Session) -> None:
        """Whether an OBS that has told all it holds hangs all the same. That it lets itself be connected to says
        nothing: obs-websocket has threads of its own."""
        hangs = session.hangs(self._answer_within)
        if hangs:
            self._patience.complain(hangs)
        else:
            self._patience.answered()

    @property
    def _answer_within(self) -> float:
        known = self._wish.known
        return known.answer_within if known is not None else ANSWER_WITHIN

    @property
    def _timeout(self) -> float:
        """Of one question: short enough for two of them."""
        return min(TIMEOUT, self._answer_within / 2)

    def lose(self, reason: str, message: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            for key in list(self._selector.get_map().values()):
                if key.data == "obs":
                    self._selector.unregister(key.fileobj)
            session.client.close()
            self._say("disconnected", reason=reason, message=message)
            self._journal.note("obs-disconnected", {"reason": reason, "message": message})
        self._fault = (reason, message)
        self._next_connect = time.monotonic() + CONNECT_PAUSE
        self._report()

    def _remember(self) -> None:
        outcome = self._session.outcome if self._session is not None else None
        if self._session is not None and outcome is not None and not outcome.elsewhere:
            self._wish.remember(outcome.found, self._session.kept)

    # ---- for the commands ---------------------------------------------------------------------------------------

    def document(self) -> Desired:
        return self._wish.document

    def on_air(self) -> str:
        if self._session is None:
            return ""
        self._session.outputs.look()
        return ", ".join(sorted(name.value for name in self._session.outputs.active))

    def client(self) -> Client:
        if self._session is None:
            raise Refusal(*self._fault)
        return self._session.client

    def read(self) -> Studio:
        client = self.client()
        if self._session is None or self._wish.known is None:
            return Reader(client).read()
        return self._session.read(self._wish.declared)

    def inventory(self, parameters: Sequence[tuple[str, str]]) -> Answer:
        client = self.client()
        session = self._session
        assert session is not None, "there is a connection"
        # what a flow writes and where a window is now is as declared; what an operator has switched is not
        desired = self._wish.given(self.document())
        studio = session.read(desired)
        session.outputs.look()
        return inventory(client, self._files, studio, parameters) | {
            "obs_version": session.obs_version,
            "active": [name.value.replace(" ", "_") for name in session.outputs.active],
            "defaults": {kind: dict(settings) for kind, settings in session.defaults(studio).items()},
            "differing": [*sorted(session.differing(desired, self._wish.owned, studio))],
        }

    def overrides(self) -> Overrides:
        return self._wish.overrides

    def override(self, overrides: Overrides, *, interrupt: bool = False) -> Answer:
        self._wish.override(overrides)
        return self._now(interrupt=interrupt)

    def show_texts(self, texts: Mapping[str, str]) -> None:
        self._wish.show(texts)
        requests = [
            Request.of("SetInputSettings", inputName=name, inputSettings={"text": text}, overlay=True)
            for name, text in texts.items()
        ]
        for answer in self.client().batch(requests):
            if not answer.ok:
                raise Refusal("Refused", answer.comment or f"OBS answers {answer.code}")

    def look_at_windows(self) -> Answer:
        self._wish.look_at_windows()
        return self._now()

    def reset(self) -> Answer:
        self._wish.forget_texts()
        return self.override(Overrides())

    def take_document(self, *, interrupt: bool) -> Answer:
        self._wish.load()
        if self._wish.fault:
            return refusal("BadDocument", self._wish.fault)
        self._wish.override(self._wish.overrides)
        return self._now(interrupt=interrupt)

    def _now(self, *, interrupt: bool = False) -> Answer:
        """Converge at once and say how it went. A connection that breaks meanwhile is an answer too."""
        session = self._session
        answer: Answer = {"ok": True, "overrides": self.overrides().to_json()}
        if session is None:
            return answer | {"converged": False, "reason": self._fault[0], "message": self._fault[1]}
        session.soon()
        session.outputs.fresh()
        session.outcome = None
        try:
            session.take_events()
            desired = self._wish.effective
            if interrupt:
                desired = replace(desired, interrupt=True)
            outcome = session.converge(desired, self._wish.owned)
            session.tend(desired)
        except ConnectionLost as lost:
            self.lost(lost)
            return answer | {"converged": False, "reason": self._fault[0], "message": self._fault[1]}
        except Leaving:
            self.lose("ObsExits", "OBS says that it exits")
            return answer | {"converged": False, "reason": self._fault[0], "message": self._fault[1]}
        except ReadFault as fault:
            return answer | {"converged": False, "reason": "NotSettled", "message": str(fault)}
        self._remember()
        self._report()
        findings = findings_of(session, self._wish)
        return answer | {
            "converged": outcome.converged,
            "changed": list(outcome.changed),
            "requests": outcome.mutating,
            "reason": findings[0].reason if findings else "",
            "message": "; ".join(f"{f.about}: {f.message}" for f in findings),
        }

    # ---- telling ------------------------------------------------------------------------------------------------

    def status(self) -> Answer:
        return status_of(self._session, self._wish, self._journal)

    def _report(self) -> None:
        self._next_report = time.monotonic() + REPORT_EVERY
        self._journal.publish(now=self._stopping)
        self._beat += 1  # a turn of the loop: it lives, whether OBS does or not
        report = report_of(self.status(), self._beat, self._fault, self._session, self._wish)
        with suppress(OSError):  # a full disk must not end what runs
            write_report(self._where.report, report)

    def _say(self, event: str, **fields: str) -> None:
        line = json.dumps({"at": time.time(), "event": event, **fields})
        with suppress(OSError):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
