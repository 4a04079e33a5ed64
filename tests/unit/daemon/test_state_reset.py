"""States that an apply may reset."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, Kind, Registry, Resource
from streamsd.core.service import Refused
from streamsd.daemon.state_reset import resets_allowed
from streamsd.engine.desired import Desired
from streamsd.testing import Scenario, things
from streamsd.testing.kinds import ThingKind, ThingSpec


class Box(ThingKind):
    """Keeps state. `open`: the resources that may begin anew. `full`: nothing can be written down."""

    name = "Box"
    section = "boxes"
    keeps_state = True
    open: set[str]
    full = False

    def allow_reset(self, resource: Resource[ThingSpec], compiled: Compiled) -> str:
        if self.full:
            raise OSError(28, "No space left on device")
        self.open.add(str(resource.address))
        return "is emptied"

    def withdraw_reset(self, resource: Resource[ThingSpec], compiled: Compiled) -> None:
        self.open.discard(str(resource.address))


class Jar(Box):
    name = "Jar"
    section = "jars"


Accepted = Mapping[Address, Desired]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[tuple[Box, Registry, Accepted]]:
    made: list[Kind[Any]] = []

    def kinds(runtime: Any) -> list[Kind[Any]]:
        made.extend((Box(runtime), Jar(runtime)))
        return made

    async with Scenario(tmp_path, kinds=kinds) as s:
        box, jar = made
        assert isinstance(box, Box)
        assert isinstance(jar, Jar)
        box.open = jar.open = set()
        profile = {**things(a={}), "boxes": {"b": {}, "c": {}}, "jars": {"c": {}}}
        yield box, Registry([s.thing, box, jar]), s.generation(profile).resources


def test_they_are_reset_with_an_apply_that_is_accepted(kept: tuple[Box, Registry, Accepted]) -> None:
    box, registry, accepted = kept
    with resets_allowed(["b", "Jar/c"], accepted, registry) as words:
        assert box.open == {"Box/b", "Jar/c"}
    assert box.open == {"Box/b", "Jar/c"}
    assert words == {Address("Box", "b"): "is emptied", Address("Jar", "c"): "is emptied"}


def test_they_are_kept_where_it_is_refused(kept: tuple[Box, Registry, Accepted]) -> None:
    box, registry, accepted = kept
    refused = Refused(422, {"error": "invalid-profile", "message": "1 error"})
    with pytest.raises(Refused, match="1 error"), resets_allowed(["b"], accepted, registry):
        raise refused
    assert box.open == set()
    box.full = True
    full = "the state of Box/b cannot be reset: No space"
    with pytest.raises(Refused, match=full), resets_allowed(["b"], accepted, registry):
        raise AssertionError
    assert box.open == set()


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("a", "there is no resource 'a' that keeps state", "there are: Box/b, Box/c, Jar/c"),
        ("Box/d", "there is no resource 'Box/d' that keeps state", "there are: Box/b, Box/c, Jar/c"),
        ("c", "there are several 'c' that keep state", "one of: Box/c, Jar/c"),
    ],
)
def test_a_name_that_is_none_resets_nothing(
    kept: tuple[Box, Registry, Accepted], name: str, words: str, hint: str
) -> None:
    box, registry, accepted = kept
    with pytest.raises(Refused) as refused, resets_allowed(["b", name], accepted, registry):
        raise AssertionError
    assert (refused.value.answer["message"], refused.value.answer["hint"]) == (words, hint)
    assert box.open == set()
