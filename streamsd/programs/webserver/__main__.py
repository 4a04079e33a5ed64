"""`python -m streamsd.programs.webserver --host 127.0.0.1 --port 8088 --root DIRECTORY`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from streamsd.programs.webserver.server import WebServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="webserver", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--root", type=Path, required=True)
    given = parser.parse_args()
    try:
        asyncio.run(_serve(given.host, given.port, given.root))
    except OSError as error:
        sys.exit(f"cannot listen on {given.host}:{given.port}: {error.strerror or error}")


async def _serve(host: str, port: int, root: Path) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    web = WebServer(root)
    server = await web.start(host, port)
    await stop.wait()
    server.close()
    web.close_connections()


if __name__ == "__main__":
    main()
