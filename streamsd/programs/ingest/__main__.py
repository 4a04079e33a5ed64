"""`python -m streamsd.programs.ingest --listen HOST:PORT --app live --key-file FILE --commands FILE --report FILE`."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from streamsd.programs.ingest.server import Ingest, Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="ingest", description=__doc__)
    parser.add_argument("--listen", required=True, help="address and port")
    parser.add_argument("--app", required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--commands", required=True, help="ffmpeg's command lines as JSON: [without sound, with]")
    parser.add_argument("--report", type=Path, required=True)
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    picture, both = json.loads(given.commands)
    settings = Settings(
        host=host.strip("[]"),
        port=int(port),
        app=given.app,
        key=given.key_file.read_text().strip(),
        url=f"rtmp://{given.listen}/{given.app}",
        picture=picture,
        both=both,
        report=given.report,
    )
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    await Ingest(settings).run()


if __name__ == "__main__":
    main()
