"""The pages: a list of what is live, and a player for each."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

import streamsd
from streamsd.programs.webserver.files import Published

STATIC = Path(streamsd.__file__).parent / "ui" / "static"
"""Our own pages and scripts, in the package."""


def index(live: Iterable[Published]) -> bytes:
    """The list, as HTML."""
    items = "\n".join(
        f'<li><a href="/{quote(p.stream)}/{quote(p.destination)}/">{escape(p.stream)}'
        f"<small>{escape(p.destination)}</small></a></li>"
        for p in live
    )
    body = f"<ul>{items}</ul>" if items else "<p>No stream is live now.</p>"
    return _fill("watch.html", title="Live streams", body=body)


def player(names: Published) -> bytes:
    """The page that plays one stream. It is there whether the stream is live or not: it waits."""
    return _fill("player.html", stream=escape(names.stream), destination=escape(names.destination))


def _fill(name: str, **values: str) -> bytes:
    return Template((STATIC / name).read_text()).substitute(values).encode()
