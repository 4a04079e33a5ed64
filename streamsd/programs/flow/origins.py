"""Where each sink stood before this generation of the state wrote its first result.

Until the first epoch is stored Bytewax knows no position: a flow that is killed before that would begin at the sinks'
ends, and leave there what it had written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from streamsd.flow.stored import dump, load
from streamsd.programs.flow.durable import replace_file


class Origins:
    """A file of each sink, written once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def known(self, part: str) -> Any:
        """The position; None where the sink starts for the first time."""
        try:
            return load(self._path(part).read_bytes())
        except FileNotFoundError:
            return None

    def keep(self, part: str, position: Any) -> None:
        """Before anything is written. OSError when it cannot be kept."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._path(part), dump(position))

    def _path(self, part: str) -> Path:
        return self._directory / f"{quote(part, safe=' ')}.position"
