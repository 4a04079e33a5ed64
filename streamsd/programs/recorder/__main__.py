"""`python -m streamsd.programs.recorder --ffmpeg PATH --source out.sock --path PATTERN …`."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from streamsd.programs.recorder.pattern import Pattern
from streamsd.programs.recorder.recorder import Recorder, Settings
from streamsd.programs.recorder.retention import Retention


def main() -> None:
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    parser.add_argument("--ffmpeg", required=True)
    parser.add_argument("--source", type=Path, required=True, help="the relay's socket")
    parser.add_argument("--path", required=True, help="absolute, with strftime's directives")
    parser.add_argument("--segment", type=float, required=True, help="seconds")
    parser.add_argument("--keep", type=float, help="seconds")
    parser.add_argument("--keep-size", type=int, help="bytes")
    parser.add_argument("--name", required=True, help="unique among recorders that share a directory")
    parser.add_argument("--report", type=Path, required=True)
    given = parser.parse_args()
    settings = Settings(
        ffmpeg=given.ffmpeg,
        source=given.source,
        pattern=Pattern(given.path),
        segment_seconds=given.segment,
        retention=Retention(given.keep, given.keep_size),
        name=given.name,
        report=given.report,
    )
    asyncio.run(_record(settings))


async def _record(settings: Settings) -> None:
    await Recorder(settings).run()


if __name__ == "__main__":
    main()
