"""`python -m streamsd.programs.x11window --display :7 --title T -- ffmpeg … -window_id {window} …`.

Waits for the window, for as long as it takes, puts its id in place of `{window}`, and becomes the program: same pid,
and none of Python is left. A window's id is known only once it is there, so it cannot stand in a plan.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from Xlib import X, display, error

PLACEHOLDER = "{window}"
_EVERY = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(prog="x11window", description=__doc__)
    parser.add_argument("--display", required=True)
    parser.add_argument("--title", help="a part of the title, in any case")
    parser.add_argument("--class", dest="wm_class", help="class or instance, in any case")
    parser.add_argument("argv", nargs="+", help="the program, after --")
    given = parser.parse_args()
    try:
        server: Any = display.Display(given.display)  # type: ignore[no-untyped-call]  # untyped package
        window = _wait(server, given.title, given.wm_class)
        server.close()
    except (error.DisplayError, error.ConnectionClosedError) as fault:
        sys.exit(f"display {given.display}: {fault}")
    argv = [word.replace(PLACEHOLDER, str(window)) for word in given.argv]
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


def _wait(server: Any, title: str | None, wm_class: str | None) -> int:
    told = False
    while True:
        for window in _tree(server.screen().root):
            if _fits(server, window, title, wm_class):
                return int(window.id)
        if not told:
            told = True
            print(
                f"window-missing: waits for a window of title {title!r}, class {wm_class!r}",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(_EVERY)


def _tree(window: Any) -> Iterator[Any]:
    """All windows below, highest first: of several that fit, the one that is seen is taken."""
    try:
        children = window.query_tree().children
    except error.BadWindow:
        return
    for child in reversed(children):
        yield child
        yield from _tree(child)


def _fits(server: Any, window: Any, title: str | None, wm_class: str | None) -> bool:
    try:
        if window.get_attributes().map_state != X.IsViewable:
            return False
        if wm_class is not None and wm_class.casefold() not in [n.casefold() for n in window.get_wm_class() or ()]:
            return False
        if title is None:
            return wm_class is not None
        named = window.get_full_text_property(server.intern_atom("_NET_WM_NAME")) or window.get_wm_name() or ""
    except error.BadWindow:
        return False  # it went away meanwhile
    text = named.decode("utf-8", "replace") if isinstance(named, bytes) else str(named)
    return title.casefold() in text.casefold()


if __name__ == "__main__":
    main()
