"""The units and what comes with them: systemd's own tools accept them, and docs/systemd.md tells the truth of them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs_needed import need

ROOT = Path(__file__).parents[2]
UNITS = ("streamsd.service", "streamsd-runtime.service")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units with this environment's programs for /opt/streamsd/bin's: verify looks whether they are there."""
    here = Path(sys.executable).parent
    made = []
    for name in UNITS:
        text = (ROOT / "systemd" / name).read_text()
        assert "ExecStart=/opt/streamsd/bin/" in text
        made.append(tmp_path / name)
        made[-1].write_text(text.replace("/opt/streamsd/bin", str(here)))
    return made


def _run(*argv: str) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_systemd_accepts_the_units_without_a_word(units: list[Path]) -> None:
    said = _run(need("systemd-analyze"), "verify", *map(str, units))
    assert [line for line in said.splitlines() if "streamsd" in line] == []


def test_the_documented_exposure_is_what_systemd_says(units: list[Path]) -> None:
    page = (ROOT / "docs/systemd.md").read_text()
    documented = dict(re.findall(r"^\| `(\S+\.service)` \| ([\d.]+) \|", page, re.M))
    assert set(documented) == set(UNITS)
    for unit in units:
        said = _run(need("systemd-analyze"), "security", "--offline=true", "--no-pager", str(unit))
        measured = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert measured, said
        # versions of systemd count a little differently
        assert abs(float(measured[1]) - float(documented[unit.name])) <= 0.5


@pytest.mark.skipif(os.geteuid() != 0, reason="making users and directories needs root")
def test_the_user_and_the_directories_are_made(tmp_path: Path) -> None:
    root = f"--root={tmp_path}"
    (tmp_path / "etc").mkdir()
    _run(need("systemd-sysusers"), root, str(ROOT / "systemd/streamsd.sysusers.conf"))
    assert re.search(r"^streamsd:", (tmp_path / "etc/passwd").read_text(), re.M)
    _run(need("systemd-tmpfiles"), root, "--create", str(ROOT / "systemd/streamsd.tmpfiles.conf"))
    for place, mode in (("etc/streamsd", 0o750), ("run/streamsd", 0o711), ("var/lib/streamsd", 0o750)):
        assert stat.S_IMODE((tmp_path / place).stat().st_mode) == mode
