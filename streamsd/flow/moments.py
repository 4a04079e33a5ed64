"""Moments: microseconds since 1970 UTC as integers, and RFC 3339 text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROS = 1_000_000
LATEST = 253402300799 * MICROS
"""The last second that a calendar of four-digit years holds."""


def from_text(text: str) -> int:
    """Microseconds of an RFC 3339 text; ValueError when it is none or has no offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time needs an offset, such as Z: {text!r}")
    span = moment - EPOCH
    return (span.days * 86400 + span.seconds) * MICROS + span.microseconds


def to_datetime(micros: int) -> datetime:
    """ValueError outside the years 1 to 9999."""
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError(f"no calendar year holds the time {micros}") from None


def to_text(micros: int) -> str:
    """RFC 3339, UTC, with as many decimals (none, 3 or 6) as are needed."""
    moment = to_datetime(micros)
    digits = "seconds" if micros % MICROS == 0 else "milliseconds" if micros % 1000 == 0 else "microseconds"
    return moment.isoformat(timespec=digits).replace("+00:00", "Z")
