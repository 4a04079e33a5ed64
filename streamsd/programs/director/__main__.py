"""python -m streamsd.programs.director: see the package."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamsd.programs.director.director import Director, Where


def main() -> None:
    parser = argparse.ArgumentParser(prog="director", description="Keeps one OBS as declared.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--desired", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--control", type=Path, required=True)
    parser.add_argument("--windows", type=Path, required=True, help="where the follower of captured windows writes")
    parser.add_argument("--scenes", type=Path, help="OBS's basic/scenes directory; none: an OBS of somebody else's")
    parser.add_argument("--complaint", type=Path, help="where to say that OBS hangs")
    given = parser.parse_args()
    Director(
        Where(
            host=given.host,
            port=given.port,
            password_file=given.password_file,
            desired=given.desired,
            state=given.state,
            report=given.report,
            control=given.control,
            windows=given.windows,
            scenes=given.scenes,
            complaint=given.complaint,
        )
    ).run()


if __name__ == "__main__":
    main()
