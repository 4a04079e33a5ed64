"""What the director says of itself: its status for commands, and the report that it writes every second."""

from __future__ import annotations

from streamsd.core.report import JsonValue, Report
from streamsd.programs.director.changes import Impossible
from streamsd.programs.director.commands import Answer
from streamsd.programs.director.journal import Journal
from streamsd.programs.director.session import Session
from streamsd.programs.director.wish import Wish


def findings_of(session: Session, wish: Wish) -> tuple[Impossible, ...]:
    """What of the document OBS does not hold."""
    return (*session.findings(), *wish.missing())


def status_of(session: Session | None, wish: Wish, journal: Journal) -> Answer:
    """Without a session, only what is known without OBS."""
    told: Answer = {
        "connected": session is not None,
        "parts": _parts(session, wish),
        "overrides": wish.overrides.to_json(),
        "events": [*journal.entries],
    }
    if session is None:
        return told
    outcome = session.outcome
    told |= {
        "obs_version": session.obs_version,
        "requests_sent": session.mutating,
        "stats": session.stats,
        "outputs": session.outputs.observed(outcome.found.video if outcome is not None else None),
        "findings": [{"reason": f.reason, "about": f.about, "message": f.message} for f in findings_of(session, wish)],
    }
    if outcome is not None:
        told |= {
            "converged": outcome.converged,
            "collection": "" if outcome.elsewhere or wish.known is None else wish.document.collection,
            "program": outcome.found.program,
            "preview": outcome.found.preview,
            "scenes": [*outcome.found.scenes],
            "inputs": len(outcome.found.inputs),
            "last_changed": [*outcome.changed[:20]],
        }
    return told


def report_of(
    status: dict[str, JsonValue], beat: int, fault: tuple[str, str], session: Session | None, wish: Wish
) -> Report:
    """`fault`: the reason, and the words, why there is no session, where there is none. `beat` grows with each."""
    ready, degraded, (reason, message) = False, False, fault
    if wish.fault:
        reason, message = "NoDocument", wish.fault
    elif session is not None and session.outcome is not None:
        findings = findings_of(session, wish)
        ready, degraded = True, bool(findings)
        reason = findings[0].reason if findings else ""
        message = "; ".join(f"{f.about}: {f.message}" for f in findings[:5])
    return Report(ready, beat, degraded, reason, message, status)


def _parts(session: Session | None, wish: Wish) -> dict[str, JsonValue]:
    """Each part of the document by its digest, once it has been compared; with a mark while some of it waits for leave
    to interrupt."""
    desired = wish.known
    if desired is None or session is None or session.outcome is None:
        return {}
    held = {change.part for change in session.outcome.held}
    return {part: f"{digest} (waits)" if part in held else digest for part, digest in desired.digests.items()}
