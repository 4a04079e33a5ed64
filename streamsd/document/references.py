"""References between resources: every one must name what is declared, and none may lead back to where it began."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from streamsd.core.address import Address
from streamsd.core.diagnostics import FieldPath, Source
from streamsd.core.kind import Reference
from streamsd.document.findings import Findings, hint_among, shown

Locate = Callable[[Address, FieldPath], Source | None]
PathOf = Callable[[Address, FieldPath], FieldPath]
_MOST_CYCLES = 20


def check_references(
    references: Mapping[Address, Sequence[Reference]],
    declared: Collection[Address],
    findings: Findings,
    locate: Locate,
    path_of: PathOf,
) -> None:
    """Finds references to nothing (`reference-unknown`) and cycles (`reference-cycle`).

    `declared` holds faulty resources too: a reference to one is no second error. `locate` gives the place of a path in
    a resource, `path_of` its whole path in the profile.
    """
    names: dict[str, list[str]] = {}
    for address in declared:
        names.setdefault(address.kind, []).append(address.name)
    for address, found in references.items():
        for reference in found:
            target = reference.target
            if target not in declared:
                findings.error(
                    "reference-unknown",
                    f"no {target.kind} is called {shown(target.name)}",
                    locate(address, reference.path),
                    hint="" if findings.full else hint_among(target.name, names.get(target.kind, [])),
                    path=path_of(address, reference.path),
                )
    for cycle in _cycles(references):
        chain = [*cycle, cycle[0]]
        address = cycle[0]
        reference = next(r for r in references[address] if r.target == chain[1])
        findings.error(
            "reference-cycle",
            f"resources that need each other: {' -> '.join(map(str, chain))}",
            locate(address, reference.path),
            hint="none of them could start first: remove one of these references",
            path=path_of(address, reference.path),
        )


def _cycles(references: Mapping[Address, Sequence[Reference]]) -> list[list[Address]]:
    """One cycle for each reference that closes one, depth first without recursion; each address is entered once."""
    done: set[Address] = set()
    cycles: list[list[Address]] = []
    for start in references:
        if start in done or len(cycles) >= _MOST_CYCLES:
            continue
        chain: dict[Address, None] = {start: None}
        work = [iter(references[start])]
        while work:
            reference = next(work[-1], None)
            if reference is None:
                work.pop()
                done.add(chain.popitem()[0])
                continue
            target = reference.target
            if target in chain:
                names = list(chain)
                cycle = names[names.index(target) :]
                if len(cycles) < _MOST_CYCLES and cycle not in cycles:
                    cycles.append(cycle)
            elif target in references and target not in done:
                chain[target] = None
                work.append(iter(references[target]))
    return cycles
