"""The profiles that come with streamsd. The tutorial's test runs the quickstart, the wheel's test the starter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamsd.document.load import load
from streamsd.kinds import load_kinds

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "streamsd/cli/templates"
PROFILES = sorted([*TEMPLATES.glob("*.yaml"), *ROOT.glob("examples/*.yaml")])


@pytest.mark.parametrize("profile", PROFILES, ids=[str(path.relative_to(ROOT)) for path in PROFILES])
def test_it_is_valid_on_any_host(profile: Path) -> None:
    loaded = load(profile, load_kinds(), host="anywhere", environ={})
    assert loaded.diagnostics == ()
    assert loaded.resources


def test_the_quickstart_is_what_init_writes() -> None:
    first, _, rest = (ROOT / "examples/quickstart.yaml").read_text().partition("\n")
    assert first == "# yaml-language-server: $schema=../schemas/profile.schema.json"
    assert rest == (TEMPLATES / "quickstart.yaml").read_text()


def test_a_command_that_asks_the_daemon_imports_nothing_heavy() -> None:
    look = """
import sys
from streamsd.cli.main import run
assert run(["status", "--run-dir", "/nowhere"]) == 1
print(*sorted({"pydantic", "fastapi", "yaml", "asyncio", "http.client"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "", "each costs every command tens of milliseconds"
