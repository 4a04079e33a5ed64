"""`python -m streamsd.programs.relay --input video.in --input audio.in --output out.sock --report FILE`."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from streamsd.programs.relay.progress import Progress
from streamsd.programs.relay.server import Relay


def main() -> None:
    parser = argparse.ArgumentParser(prog="relay", description=__doc__)
    parser.add_argument("--input", type=Path, action="append", required=True, help="unix socket an encoder writes to")
    parser.add_argument("--output", type=Path, required=True, help="unix socket that readers connect to")
    parser.add_argument("--report", type=Path, required=True, help="where to write the report")
    parser.add_argument("--progress", type=Path, help="unix socket for ffmpeg's -progress")
    parser.add_argument("--progress-file", type=Path, help="where the newest of its blocks is kept")
    given = parser.parse_args()
    progress = Progress(given.progress, given.progress_file) if given.progress else None
    gc.freeze()  # what is loaded by now stays, and need not be looked through again and again
    Relay(given.input, given.output, given.report, progress).run()


if __name__ == "__main__":
    main()
