"""What is written about the project is true of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from streamsd.cli.failure import EXIT_MEANINGS, Exit
from streamsd.cli.main import COMMANDS
from streamsd.cli.reference import reference
from streamsd.core.address import Address
from streamsd.document.load import load
from streamsd.document.reference import pages
from streamsd.document.schema import profile_schema
from streamsd.kinds import load_kinds

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


def test_the_page_of_the_commands_is_fresh() -> None:
    assert (ROOT / "docs/cli.md").read_text() == reference(), "run `make docs`"


def test_the_schema_and_the_reference_are_fresh() -> None:
    registry = load_kinds()
    assert json.loads((ROOT / "schemas/profile.schema.json").read_text()) == profile_schema(registry), "run `make docs`"
    for name, text in pages(registry).items():
        assert (ROOT / "docs/reference" / name).read_text() == text, "run `make docs`"


def test_the_example_of_the_profile_page_is_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/profile.md").read_text()
    for name, text in re.findall(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```", page, re.M | re.DOTALL):
        (tmp_path / name).write_text(text)
    for host, resolution, rate in (("studio1", "1280x720", "2500k"), ("studio2", "1920x1080", "1000k")):
        loaded = load(tmp_path / "profile.yaml", load_kinds(), host=host, environ={})
        assert loaded.diagnostics == ()
        assert str(loaded.resources[Address("Display", "desk")].spec.resolution) == resolution
        assert str(loaded.resources[Address("Stream", "desktop")].spec.video.bitrate) == rate
        assert loaded.resources[Address("App", "big")].spec.display == "desk"
        assert loaded.resources[Address("App", "clock")].spec.env == {"TZ": "UTC"}


def test_every_command_and_exit_code_is_on_it() -> None:
    page = (ROOT / "docs/cli.md").read_text()
    assert [line.split()[-1] for line in page.splitlines() if line.startswith("## streamsd ")] == list(COMMANDS)
    assert set(EXIT_MEANINGS) == set(Exit)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, _ in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_lock_file_covers_what_the_package_asks_for() -> None:
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.M):
        locked.setdefault(_normal(name), []).append(version)
    for text in wanted:
        requirement = Requirement(text)
        versions = locked.get(_normal(requirement.name), [])
        assert any(requirement.specifier.contains(v, prereleases=True) for v in versions), f"{text}: run `make lock`"


def test_the_lock_file_names_no_place_to_fetch_from() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--hash=" in text


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
