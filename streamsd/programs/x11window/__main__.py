"""`python -m streamsd.programs.x11window --display :7 --title T -- ffmpeg … -window_id {window} …`.

Waits for the window, for as long as it takes, puts its id in place of `{window}`, and becomes the program: same pid,
and none of Python is left. A window's id is known only once it is there, so it cannot stand in a plan. Of several
windows that fit, the highest is taken: the one that is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from streamsd.core.report import Report, write_report
from streamsd.runtime.probes.xwindows import find_windows
from streamsd.runtime.probes.xwire import XConnection

PLACEHOLDER = "{window}"
_EVERY = 0.2


def main() -> None:
    """The cookie is found by XAUTHORITY; without it, none is shown. Ends with 1 when the display does not answer."""
    parser = argparse.ArgumentParser(prog="x11window", description=__doc__)
    parser.add_argument("--display", required=True)
    parser.add_argument("--title", help="a part of the title, in any case")
    parser.add_argument("--class", dest="wm_class", help="class or instance, in any case")
    parser.add_argument("--report", type=Path, required=True, help="says WindowMissing while it waits; else not there")
    parser.add_argument("argv", nargs="+", help="the program, after --")
    given = parser.parse_args()
    named = os.environ.get("XAUTHORITY")
    authority = Path(named) if named else None
    # The signals that end ffmpeg end us as quietly.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given.report.unlink(missing_ok=True)
    try:
        window = asyncio.run(_wait(given.display, authority, given.title, given.wm_class, given.report))
    except (OSError, EOFError, ValueError) as fault:
        sys.exit(f"display {given.display}: {fault}")
    finally:
        given.report.unlink(missing_ok=True)
    argv = [word.replace(PLACEHOLDER, str(window)) for word in given.argv]
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


async def _wait(display: str, authority: Path | None, title: str | None, wm_class: str | None, report: Path) -> int:
    told = False
    words = " and ".join(f"{what} {text!r}" for what, text in (("title", title), ("class", wm_class)) if text)
    async with await XConnection.open(display, authority) as x:
        while True:
            found = await find_windows(x, title=title, wm_class=wm_class)
            if found:
                return found[-1].id
            if not told:
                told = True
                message = f"there is no window of {words}"
                print(f"window-missing: {message}", file=sys.stderr, flush=True)
                write_report(report, Report(False, 0, True, "WindowMissing", message))
            await asyncio.sleep(_EVERY)


if __name__ == "__main__":
    main()
