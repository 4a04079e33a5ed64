"""A hundred mistakes that people make, each with what is said about it.

`STREAMSD_UPDATE_GOLDEN=1 pytest tests/golden/test_bad_profiles.py` writes the expected texts anew: read the difference.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from streamsd.document.excerpt import lines_of, render
from streamsd.document.load import load
from streamsd.kinds import load_kinds

PROFILES = Path(__file__).parent / "profiles"
BAD = sorted(PROFILES.glob("*.bad.yaml"))
KINDS = load_kinds()


def said_about(profile: Path) -> str:
    """What `validate` says of a profile in the working directory."""
    loaded = load(profile, KINDS, host="studio", environ={"HOME": "/home/alice", "TOKEN": "hunter2"})
    assert not loaded.valid
    assert not loaded.resources
    return "\n\n".join(render(d, lambda file: lines_of(Path(file).read_text())) for d in loaded.diagnostics) + "\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the profiles lie together, under short names."""
    copy = tmp_path_factory.mktemp("profiles")
    for file in PROFILES.glob("*.yaml"):
        shutil.copy(file, copy)
    return copy


@pytest.mark.parametrize("profile", BAD, ids=[path.name.removesuffix(".bad.yaml") for path in BAD])
def test_a_mistake_is_told(profile: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    said = said_about(Path(profile.name))
    assert "hunter2" not in said
    expected = profile.with_suffix(".txt")
    if os.environ.get("STREAMSD_UPDATE_GOLDEN") == "1":
        expected.write_text(said)
    assert said == expected.read_text(), "if the new text is better: STREAMSD_UPDATE_GOLDEN=1"


def test_there_are_a_hundred_and_each_has_its_text() -> None:
    assert len(BAD) >= 100
    assert {path.with_suffix(".txt") for path in BAD} == set(PROFILES.glob("*.txt"))
