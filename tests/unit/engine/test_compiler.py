"""From specs to desired state: what is refused, where it is said to be, and what is taken as it was."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.address import Address
from streamsd.core.claim import tcp_claim, udp_claim
from streamsd.core.diagnostics import Diagnostic, Problem, ProblemsError
from streamsd.core.kind import Compiled, Registry, Resource
from streamsd.core.settings import Settings
from streamsd.engine.compiler import Compiler
from streamsd.engine.context import Allocations, HostContext
from streamsd.testing import Scenario, ThingKind, things

A, B, C = (Address("Thing", name) for name in "abc")


@pytest.fixture
def s(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path)


def codes(diagnostics: tuple[Diagnostic, ...]) -> list[tuple[str, str, str]]:
    return [(d.code, str(d.at), ".".join(map(str, d.path))) for d in diagnostics]


def test_they_come_in_the_order_of_their_references(s: Scenario) -> None:
    generation, _ = s.compile(things(a={"uses": ["b"]}, b={"near": ["c"]}, c={}))
    assert list(generation.resources) == [C, B, A]
    assert generation.resources[A].dependencies == {B}
    assert generation.resources[A].follows == {B}
    assert generation.resources[B].follows == set()


def test_a_problem_is_located_and_does_not_hide_others(s: Scenario) -> None:
    _, found = s.compile(things(a={}, b={"bad": "no-good"}, c={"uses": ["b"]}, d={"bad": "worse"}))
    assert codes(found) == [
        ("no-good", "profile.yaml:2:2", "things.b.bad"),
        ("worse", "profile.yaml:4:2", "things.d.bad"),
    ]


def test_two_that_claim_the_same_are_refused_where_the_second_is(s: Scenario) -> None:
    _, found = s.compile(things(a={"port": 1}, b={"port": 2}, c={"port": 1}))
    assert codes(found) == [("port-taken", "profile.yaml:3:2", "things.c.port")]
    assert "Thing/a" in found[0].message
    # the place is that of the newest text, though nothing else of c has changed
    _, found = s.compile(things(a={"port": 1}, x={}, y={}, c={"port": 1}))
    assert codes(found) == [("port-taken", "profile.yaml:4:2", "things.c.port")]


def test_what_did_not_change_is_not_compiled_again(s: Scenario) -> None:
    first, _ = s.compile(things(a={}, b={"uses": ["a"]}, c={}))
    s.thing.compiled.clear()
    second, _ = s.compile(things(a={"size": "big"}, b={"uses": ["a"]}, c={}))
    assert s.thing.compiled == ["a"]
    assert second.resources[B] is first.resources[B]
    s.thing.compiled.clear()
    s.compile(things(a={"identity": "two"}, b={"uses": ["a"]}, c={}))
    assert s.thing.compiled == ["a", "b"], "b sees what a exports"


class Faulty(ThingKind):
    """Checks that fail as compiling may, and claims of a real port."""

    name = "Faulty"
    section = "faulties"

    def check(self, resource: Resource[Any], context: Any) -> Any:
        if resource.spec.bad:
            raise ProblemsError([Problem(resource.spec.bad, "it is bad")])
        return ()

    def compile(self, resource: Resource[Any], context: Any) -> Compiled:
        return Compiled(claims=(tcp_claim("127.0.0.1", resource.spec.port, ("port",)),))


def faulty(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path, kinds=lambda runtime: [Faulty(runtime)])


def test_a_check_that_raises_problems_is_heard(tmp_path: Path) -> None:
    _, found = faulty(tmp_path).compile({"faulties": {"a": {"bad": "no-good"}}})
    assert codes(found) == [("no-good", "profile.yaml:1:1", "faulties.a")]


def test_a_port_that_others_have_is_refused_and_one_of_ours_is_not(tmp_path: Path) -> None:
    s = faulty(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        address = Address("Faulty", "a")
        resource = {address: Resource(address, Faulty.spec.model_validate({"port": port}))}
        nobody: frozenset[Any] = frozenset()
        assert [d.code for d in s.compiler.compile(resource, nobody)[1]] == ["tcp-port-taken"]
        assert not s.compiler.compile(resource, frozenset([address]))[1], "its own process has it"
        held = frozenset([("tcp-port", str(port))])
        assert not s.compiler.compile(resource, nobody, held)[1], "one of ours has it and gives it up"
    assert not s.compiler.compile(resource, nobody)[1]


def test_a_port_everywhere_is_the_same_port_on_one_address() -> None:
    everywhere, here = tcp_claim("0.0.0.0", 8088), tcp_claim("127.0.0.1", 8088)
    assert everywhere.clashes(here)
    assert here.clashes(everywhere)
    assert not here.clashes(tcp_claim("127.0.0.2", 8088))
    assert not here.clashes(tcp_claim("127.0.0.1", 8089))
    assert not here.clashes(udp_claim("127.0.0.1", 8088))
    assert str(here) == "tcp-port 127.0.0.1:8088"


def test_a_number_that_others_have_is_not_given(tmp_path: Path) -> None:
    numbers = Allocations(tmp_path / "allocations.json")
    assert numbers.allocate("pool", A, range(10, 20), lambda number: number == 17) == 17
    assert numbers.allocate("pool", A, range(10, 20), lambda number: False) == 17, "it is mine already"
    with pytest.raises(ProblemsError):
        numbers.allocate("pool", B, range(10, 20), lambda number: False)


def test_numbers_are_kept_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "allocations.json"
    some = range(100, 103)
    first = Allocations(path)
    mine = [first.allocate("pool", address, some) for address in (A, B, C)]
    assert sorted(mine) == [100, 101, 102]
    assert [Allocations(path).allocate("pool", address, some) for address in (C, B, A)] == mine[::-1]
    with pytest.raises(ProblemsError):
        first.allocate("pool", Address("Thing", "d"), some)
    assert first.allocate("other", Address("Thing", "d"), some) in some
    first.release(frozenset([A, C]))
    assert Allocations(path).allocate("pool", Address("Thing", "d"), some) == mine[1]
    assert first.allocate("pool", A, range(200, 300)) in range(200, 300), "another range: another number"


def test_a_damaged_or_unwritable_file_of_numbers_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "allocations.json"
    path.write_text("[1, 2")
    first = Allocations(path).allocate("pool", A, range(1000))
    path.unlink()
    path.mkdir()
    assert Allocations(path).allocate("pool", A, range(1000)) == first, "the first choice follows from the address"


def test_a_context_looks_for_programs_anew_in_each_round(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "state", tmp_path / "run", tmp_path)
    asked: list[int] = []

    def find() -> Path | None:
        asked.append(1)
        return Path("/bin/own")

    context = HostContext(settings, {"own": find})
    assert context.program("own") == context.program("own") == Path("/bin/own")
    assert len(asked) == 1
    Compiler(Registry([]), context, b"k").compile({}, frozenset())
    context.program("own")
    assert len(asked) == 2
    assert context.program("no-such-program-anywhere") is None
    for directory in (context.directory(A), context.state_directory(A)):
        assert directory.is_dir()
        assert directory.stat().st_mode & 0o777 == 0o700
    context.export(A, "text")
    assert context.exports(A, str) == "text"
    with pytest.raises(ProblemsError, match="Thing/a is nothing that can be used here"):
        context.exports(A, int)
