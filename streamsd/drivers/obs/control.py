"""Asking a director, over its control socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from streamsd.core.report import JsonValue

_LONGEST = 64 * 1024 * 1024
"""Bytes of an answer: a screenshot, or a large collection read back."""


class Directed:
    """An OBS with a director, as other kinds know it."""

    @property
    def control(self) -> Path:
        """The director's control socket."""
        raise NotImplementedError  # not abstract: `Context.exports` takes a class that could be made


class DirectorFault(Exception):
    """The director does not answer, or refuses: `reason` is a CamelCase word."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        self.reason = reason
        self.hint = hint
        super().__init__(message)


async def ask(control: Path, question: dict[str, JsonValue], *, within: float = 60.0) -> dict[str, JsonValue]:
    """One question and its answer. DirectorFault when there is none in time, or when it is a refusal."""
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_unix_connection(str(control), limit=_LONGEST)
            try:
                writer.write(json.dumps(question).encode() + b"\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except TimeoutError:
        raise DirectorFault("NoAnswer", f"the director did not answer within {within:g} s") from None
    except OSError:
        raise DirectorFault("NoAnswer", "the director does not run, or has only just started") from None
    except ValueError:
        raise DirectorFault("NoAnswer", "the director's answer is too long") from None
    try:
        answer: dict[str, JsonValue] = json.loads(line)
    except ValueError:
        raise DirectorFault("NoAnswer", "the director ended before it answered") from None
    if not answer.get("ok"):
        words = (str(answer.get("reason", "Refused")), str(answer.get("message", "refused")))
        raise DirectorFault(*words, str(answer.get("hint", "")))
    return answer
