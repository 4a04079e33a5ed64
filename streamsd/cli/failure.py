"""What a command could not do, in words for people and as a shape for programs; and the exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamsd.core.answers import DiagnosticAnswer, ErrorAnswer


class Exit(IntEnum):
    """Stable, and documented in docs/cli.md."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    TIMED_OUT = 3
    INTERRUPTED = 130


EXIT_MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; for `plan`: nothing would change; for `apply`: converged",
    Exit.FAILED: "it could not be done, the command was wrong, or no daemon answers; the reason is on stderr",
    Exit.CHANGES: "`plan` only: applying would change something",
    Exit.TIMED_OUT: "`apply` and `up --detach`: the time was over before it was done; it goes on",
    Exit.INTERRUPTED: "ended by Ctrl-C",
}


class Failure(Exception):
    """Ends the command: `error: MESSAGE`, then `hint: HINT`, on stderr. `code` is kebab-case."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str = "failed",
        exit_code: Exit = Exit.FAILED,
        diagnostics: Sequence[DiagnosticAnswer] = (),
    ) -> None:
        self.message = message
        self.hint = hint
        self.code = code
        self.exit_code = exit_code
        self.diagnostics = tuple(diagnostics)
        super().__init__(message)

    @classmethod
    def from_answer(cls, answer: ErrorAnswer) -> Failure:
        """The daemon's refusal."""
        return cls(
            answer["message"],
            answer.get("hint", ""),
            code=answer["error"],
            diagnostics=answer.get("diagnostics", ()),
        )

    def answer(self) -> ErrorAnswer:
        """What `--json` prints."""
        answer: ErrorAnswer = {"error": self.code, "message": self.message}
        if self.hint:
            answer["hint"] = self.hint
        if self.diagnostics:
            answer["diagnostics"] = list(self.diagnostics)
        return answer
