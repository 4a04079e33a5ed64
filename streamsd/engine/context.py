"""What kinds may ask of this host while they compile."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from streamsd.core.address import Address
from streamsd.core.diagnostics import Problem, ProblemsError
from streamsd.core.kind import Resource
from streamsd.core.settings import Settings

ExportT = TypeVar("ExportT")


class HostContext:
    """The Context that kinds get. `overrides` names programs that stand where the search path would not find them:
    each is asked at its first use."""

    def __init__(self, settings: Settings, overrides: Mapping[str, Callable[[], Path | None]]) -> None:
        self.api_socket = settings.api_socket
        self._run = settings.run_dir / "r"
        self._state = settings.state_dir / "r"
        self._overrides = overrides
        self._programs: dict[str, Path | None] = {}
        self._exports: dict[Address, object] = {}
        self._accepted: Mapping[Address, Resource[Any]] = {}
        self._allocations = Allocations(settings.state_dir / "allocations.json")

    def begin(self, accepted: Mapping[Address, Resource[Any]]) -> None:
        """A new round of compiling: programs are looked for anew. `accepted`: the resources as they are until then."""
        self._programs.clear()
        self._accepted = accepted

    def export(self, address: Address, exports: object) -> None:
        self._exports[address] = exports

    def release(self, keep: frozenset[Address]) -> None:
        """Give back the numbers of resources that are gone."""
        self._allocations.release(keep)

    def directory(self, address: Address) -> Path:
        return _private(self._run / f"{address.kind}.{address.name}")

    def state_directory(self, address: Address) -> Path:
        return _private(self._state / f"{address.kind}.{address.name}")

    def exports(self, address: Address, as_: type[ExportT]) -> ExportT:
        found = self._exports.get(address)
        if not isinstance(found, as_):
            raise ProblemsError(
                [
                    Problem(
                        "reference-unusable",
                        f"{address} is nothing that can be used here",
                        hint=f"name a {as_.__name__}",
                    )
                ]
            )
        return found

    def accepted(self, address: Address) -> Resource[Any] | None:
        return self._accepted.get(address)

    def program(self, name: str) -> Path | None:
        if name not in self._programs:
            override = self._overrides.get(name)
            found = override() if override else None
            if found is None:
                which = shutil.which(name)
                found = Path(which) if which else None
            self._programs[name] = found
        return self._programs[name]

    def allocate(
        self, pool: str, address: Address, choices: range, free: Callable[[int], bool] = lambda number: True
    ) -> int:
        return self._allocations.allocate(pool, address, choices, free)

    def python(self, module: str) -> tuple[str, ...]:
        # -I: no PYTHON* of the environment and no module of the working directory; an editable install is still found
        return (sys.executable, "-I", "-m", module)


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


class Allocations:
    """Numbers given to resources, kept in a file so that a new controller gives the same ones.

    The first choice follows from the address, so that losing the file rarely changes anything.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._given: dict[str, dict[str, int]] = {}
        try:
            data = json.loads(path.read_text())
            self._given = {p: {a: int(n) for a, n in pool.items()} for p, pool in data.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._given = {}

    def allocate(
        self, pool: str, address: Address, choices: range, free: Callable[[int], bool] = lambda number: True
    ) -> int:
        """The address's number: ProblemsError when all are taken."""
        given = self._given.setdefault(pool, {})
        mine = given.get(str(address))
        if mine is not None and mine in choices:
            return mine
        taken = set(given.values())
        first = _spread(f"{pool} {address} {self._path}") % len(choices)
        for step in range(len(choices)):
            number = choices[(first + step) % len(choices)]
            if number not in taken and free(number):
                given[str(address)] = number
                self._save()
                return number
        raise ProblemsError(
            [Problem("pool-exhausted", f"no free {pool} in {choices.start}-{choices.stop - 1} is left")]
        )

    def release(self, keep: frozenset[Address]) -> None:
        names = {str(address) for address in keep}
        before = json.dumps(self._given)
        for pool in self._given.values():
            for name in [n for n in pool if n not in names]:
                del pool[name]
        if json.dumps(self._given) != before:
            self._save()

    def _save(self) -> None:
        part = self._path.with_suffix(".part")
        with contextlib.suppress(OSError):  # a full disk must not refuse an apply: the number follows from the address
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(json.dumps(self._given, indent=1))
            os.replace(part, self._path)


def _spread(text: str) -> int:
    value = 2166136261  # FNV-1a, 32 bits: stable across processes, unlike hash()
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value
