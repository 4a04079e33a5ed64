"""What the flow runner is asked for, and the start of what does it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from pydantic import ValidationError

from streamsd.flow.split import joined
from streamsd.programs.flow.ends import Around
from streamsd.programs.flow.group import Group
from streamsd.programs.flow.prepared import Setting
from streamsd.programs.flow.runner import Runner
from streamsd.programs.flow.telling import log


def main() -> None:
    parser = argparse.ArgumentParser(prog="flow", description="Run one flow.")
    parser.add_argument("--name", required=True, help="the flow's name")
    parser.add_argument("--spec", type=Path, required=True, help="the parts of the flow that need a restart, as JSON")
    parser.add_argument("--live", type=Path, required=True, help="the parts that can change live, as JSON")
    parser.add_argument("--base", type=Path, required=True, help="what relative paths are relative to")
    parser.add_argument("--state", type=Path, help="a private directory for the state; without it nothing is kept")
    parser.add_argument("--report", type=Path, help="where to write the report")
    parser.add_argument("--control", type=Path, help="the unix socket that takes requests")
    parser.add_argument("--api", type=Path, help="the daemon's socket")
    parser.add_argument("--director", action="append", default=[], metavar="NAME=SOCKET", help="of an OBS instance")
    parser.add_argument("--once", action="store_true", help="end when the sources are at their end")
    parser.add_argument("--forget", type=Path, help="a directory of ours to remove once the spec is read")
    parser.add_argument("--reset-state", action="store_true", help="begin with an empty state")
    parser.add_argument("--own-loop", action="store_true", help="do without Bytewax, even where it is installed")
    given = parser.parse_args()
    try:
        spec = joined(json.loads(given.spec.read_text()), json.loads(given.live.read_text()))
    except (ValidationError, ValueError, KeyError) as fault:
        log("flow-refused", reason="InvalidSpec", message=str(fault))
        sys.exit(2)
    if given.forget is not None:
        shutil.rmtree(given.forget, ignore_errors=True)
    directors = {name: Path(path) for name, _, path in (text.partition("=") for text in given.director)}
    setting = Setting(
        given.name,
        given.base,
        given.state,
        given.report,
        given.control,
        not given.once,
        given.reset_state,
        Around(given.api, directors),
        given.own_loop,
    )
    code = Runner(spec, setting).run() if spec.processes == 1 else Group(spec, setting).run()
    # Threads of client libraries may still hold on: what had to be stored is stored.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
