"""The figures of data flows: throughput per core, latency under an open-loop load, start, brokers, and stock Bytewax.

    python -m bench.flows [--quick] [--only NAME] [--own-loop] [--json FILE]

Throughput is per second of CPU time, so that a loaded host shows in the noise and not in the figure. Latency is from
the moment a message was due, not from when it was sent: a flow that falls behind cannot hide it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, report
from bench.flows import ends, kafka, keys, latency, memory, processes, soak, start, stock
from tests.e2e.flow.processes import Flow

PARTS: dict[str, Callable[[Path, bool], Iterator[Figure]]] = {
    "memory": memory.figures,
    "stock": stock.figures,
    "keys": keys.figures,
    "start": start.figures,
    "latency": latency.figures,
    "ends": ends.figures,
    "kafka": kafka.figures,
    "soak": soak.figures,
    "processes": processes.figures,
}


LONG = ("soak",)
"""Parts that take long: only by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--only", choices=list(PARTS), help="one part")
    parser.add_argument("--json", help="write the figures to a file (- is the standard output)")
    parser.add_argument("--own-loop", action="store_true", help="flows of one process without Bytewax")
    given = parser.parse_args()
    Flow.own_loop = given.own_loop
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="flows-") as directory:
        for name, part in PARTS.items():
            if given.only == name or (given.only is None and name not in LONG):
                figures += part(Path(directory), given.quick)
    report("flows", figures, given.json)


if __name__ == "__main__":
    main()
