"""The display kind: what a spec comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, Resource
from streamsd.core.settings import Settings
from streamsd.core.unit import spec_hash
from streamsd.core.units import Resolution
from streamsd.drivers.x11 import XDisplay
from streamsd.engine.context import HostContext
from streamsd.kinds.display.kind import KIND
from streamsd.kinds.display.spec import DisplaySpec
from streamsd.testing.kinds import said_against

XVFB = Path("/usr/bin/Xvfb")


@pytest.fixture
def context(tmp_path: Path) -> HostContext:
    settings = Settings(tmp_path / "p", tmp_path / "s", tmp_path / "r", tmp_path / "c")
    return HostContext(settings, {"Xvfb": lambda: XVFB})


def resource(**fields: Any) -> Resource[DisplaySpec]:
    return Resource(Address("Display", "desk"), DisplaySpec(**fields))


def compiled(context: HostContext, **fields: Any) -> Compiled:
    return KIND.compile(resource(**fields), context)


def hash_of(found: Compiled) -> str:
    return spec_hash(found.unit("server"), b"k")


def test_it_starts_at_its_largest_size_and_the_rest_is_live(context: HostContext) -> None:
    found = compiled(context, number=7, resolution="1280x720", max_resolution="2560x1440")
    assert found.unit("server").argv[:5] == (str(XVFB), ":7", "-screen", "0", "2560x1440x24")
    assert {key: part.desired for key, part in found.live.items()} == {"resolution": "1280x720", "size_mm": "339x190"}
    assert [(claim.what, claim.which) for claim in found.claims] == [("x-display", "7")]
    assert isinstance(found.exports, XDisplay)
    assert found.exports.env == {"DISPLAY": ":7", "XAUTHORITY": str(found.exports.authority)}


def test_only_what_must_be_restarts_the_server(context: HostContext) -> None:
    before = hash_of(compiled(context, number=7))
    for fields in ({"resolution": "640x480"}, {"dpi": 200}, {"description": "x"}, {"max_resolution": "1920x1080"}):
        assert hash_of(compiled(context, number=7, **fields)) == before
    for fields in ({"max_resolution": "3840x2160"}, {"resolution": "3840x2160"}, {"number": 8}):
        assert hash_of(compiled(context, **{"number": 7, **fields})) != before


def test_the_largest_size_holds_the_size_on_both_sides() -> None:
    assert DisplaySpec().largest == Resolution(1920, 1080)
    assert DisplaySpec(resolution=Resolution(1080, 1920)).largest == Resolution(1920, 1920)


def test_a_number_is_drawn_and_stays(context: HostContext, tmp_path: Path) -> None:
    first = compiled(context)
    assert compiled(context) == first
    settings = Settings(tmp_path / "p", tmp_path / "s", tmp_path / "r", tmp_path / "c")
    assert KIND.compile(resource(), HostContext(settings, {"Xvfb": lambda: XVFB})) == first


def test_what_does_not_fit_is_told_where_it_stands(context: HostContext, tmp_path: Path) -> None:
    (problem,) = said_against(KIND, resource(resolution="1920x1080", max_resolution="1280x720"), context)
    assert (problem.code, problem.path) == ("resolution-too-large", ("resolution",))
    missing = HostContext(Settings(tmp_path, tmp_path, tmp_path, tmp_path), {})
    missing._programs["Xvfb"] = None
    (problem,) = said_against(KIND, resource(), missing)
    assert (problem.code, problem.hint) == ("program-missing", "apt install xvfb")


@pytest.mark.parametrize(
    "fields",
    [{"resolution": "0x0"}, {"resolution": "big"}, {"number": -1}, {"dpi": 0}, {"backend": "xorg"}, {"size": "1x1"}],
)
def test_nonsense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DisplaySpec(**fields)
