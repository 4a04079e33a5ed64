"""`python -m streamsd.programs.flow --spec FILE --live FILE --name NAME --state DIR --report FILE --control SOCKET`.

Light to import: who is told to stop while the rest is imported, which may take seconds, ends at once and says nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys


def leave(number: int, frame: object) -> None:
    """Nothing has begun: only the specification, which may hold secrets, is not to be left behind."""
    given = sys.argv[1:]
    if "--forget" in given[:-1]:
        shutil.rmtree(given[given.index("--forget") + 1], ignore_errors=True)
    os._exit(128 + number)


def main() -> None:
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    from streamsd.programs.flow.start import main as begin

    begin()


if __name__ == "__main__":
    main()
