"""Where the `streamsd` script begins, before anything that takes time is imported."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line. Who interrupts what is being imported gets no traceback."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    _hold_the_first_three()
    from streamsd.cli.main import main as begin

    signal.signal(signal.SIGINT, before)
    begin()


def _hold_the_first_three() -> None:
    """Where standard input, output or error is closed, what is opened next would be it, and be written to: a database,
    a socket. Nothing that is written there gets lost without a word: it is an error."""
    import sys

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            how = os.O_WRONLY if name == "stderr" else os.O_RDONLY
            os.open(os.devnull, how)  # the lowest number that is free: this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
