"""The web server's directory: where whoever has something to serve puts it, and under which URL it is then found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WebRoot:
    """What a server says of itself. What lies at `root/a/b` is served at `url/a/b`; `url` ends without a slash."""

    root: Path
    url: str

    def directory(self, *names: str) -> Path:
        """Where files of that path go."""
        return self.root.joinpath(*names)

    def address(self, *names: str) -> str:
        """The URL of that path."""
        return "/".join((self.url, *names))
