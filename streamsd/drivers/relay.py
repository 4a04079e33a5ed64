"""What a stream says of itself: where its relay hands it out, and where it can be published to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamsd.core.secret import Secret


@dataclass(frozen=True, slots=True)
class RtmpPoint:
    """Where a publisher of this host sends to: `server` such as rtmp://127.0.0.1:1935/live, and the key."""

    server: str
    key: Secret


@dataclass(frozen=True, slots=True)
class StreamExports:
    """`output`: the socket where its relay hands it out, as NUT, to any number of readers. `urls`: the playlists of
    its HLS destinations. `ingest`: where it is published to; None for one that is captured here."""

    output: Path
    urls: Mapping[str, str]
    ingest: RtmpPoint | None = None
