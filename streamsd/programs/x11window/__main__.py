"""`python -m streamsd.programs.x11window --display :7 --title T -- ffmpeg … -window_id {window} …`.

Waits for the window, for as long as it takes, puts its id in place of `{window}`, and becomes the program: same pid,
and none of Python is left. A window's id is known only once it is there, so it cannot stand in a plan. Of several
windows that fit, the highest is taken: the one that is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

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
    parser.add_argument("argv", nargs="+", help="the program, after --")
    given = parser.parse_args()
    named = os.environ.get("XAUTHORITY")
    authority = Path(named) if named else None
    try:
        window = asyncio.run(_wait(given.display, authority, given.title, given.wm_class))
    except (OSError, EOFError, ValueError) as fault:
        sys.exit(f"display {given.display}: {fault}")
    argv = [word.replace(PLACEHOLDER, str(window)) for word in given.argv]
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


async def _wait(display: str, authority: Path | None, title: str | None, wm_class: str | None) -> int:
    told = False
    async with await XConnection.open(display, authority) as x:
        while True:
            found = await find_windows(x, title=title, wm_class=wm_class)
            if found:
                return found[-1].id
            if not told:
                told = True
                words = f"waits for a window of title {title!r}, class {wm_class!r}"
                print(f"window-missing: {words}", file=sys.stderr, flush=True)
            await asyncio.sleep(_EVERY)


if __name__ == "__main__":
    main()
