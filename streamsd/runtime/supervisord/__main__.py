"""`python -m streamsd.runtime.supervisord`: starts the runtime of an instance, or joins the one that runs; then ends.

It is how systemd keeps the runtime in a unit of its own (systemd/streamsd-runtime.service), so that restarting the
daemon's unit leaves every process alone. A daemon that finds no runtime starts one by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from streamsd.core.runtime import RuntimeFault
from streamsd.core.settings import Settings
from streamsd.runtime.supervisord.runtime import SupervisordRuntime


async def _start(settings: Settings) -> None:
    runtime = SupervisordRuntime(settings)
    await runtime.connect()
    await runtime.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m streamsd.runtime.supervisord", description="Start the runtime.")
    parser.add_argument("--run-dir", help="the instance's [env: STREAMSD_RUN_DIR]")
    parser.add_argument("--state-dir", help="the instance's [env: STREAMSD_STATE_DIR]")
    options = parser.parse_args()
    try:
        asyncio.run(_start(Settings.resolve(run_dir=options.run_dir, state_dir=options.state_dir)))
    except RuntimeFault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
