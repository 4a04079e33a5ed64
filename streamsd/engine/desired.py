"""Desired state: accepted resources with everything the planner needs to know of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, Resource


@dataclass(frozen=True, slots=True)
class Desired:
    """One resource, compiled. `hashes`: role to spec hash."""

    resource: Resource[Any]
    compiled: Compiled
    hashes: Mapping[str, str]
    dependencies: frozenset[Address]
    follows: frozenset[Address]

    @property
    def address(self) -> Address:
        return self.resource.address

    @property
    def required(self) -> frozenset[str]:
        """Roles the resource is not Ready without."""
        if self.compiled.required is not None:
            return self.compiled.required
        return frozenset(unit.id.role for unit in self.compiled.units)


@dataclass(frozen=True)
class Generation:
    """An accepted configuration. `number` counts up from 1; 0 is the empty one before the first."""

    number: int = 0
    revision: str = ""
    resources: Mapping[Address, Desired] = field(default_factory=dict)

    def dependents(self) -> dict[Address, set[Address]]:
        """For each resource, those that refer to it."""
        found: dict[Address, set[Address]] = {address: set() for address in self.resources}
        for address, desired in self.resources.items():
            for target in desired.dependencies:
                found.setdefault(target, set()).add(address)
        return found


def start_levels(compiled: Compiled, roles: Collection[str]) -> list[list[str]]:
    """Those of the roles that are declared, in start order: each level needs only earlier ones. What a role follows
    comes before it, too: else it would be older than that, and start again at once."""
    needs = {u.id.role: (set(u.after) | set(u.follows)) & set(roles) for u in compiled.units if u.id.role in roles}
    levels: list[list[str]] = []
    done: set[str] = set()
    while len(done) < len(needs):
        level = sorted(role for role, wants in needs.items() if role not in done and wants & set(needs) <= done)
        if not level:  # a cycle within a kind: its own fault, but nothing may hang for it
            level = sorted(set(needs) - done)
        levels.append(level)
        done |= set(level)
    return levels


def dependency_order(targets: Mapping[Address, Iterable[Address]]) -> list[Address]:
    """Referred before referring; by address where the order is free. `targets` says for each resource what it refers
    to; it is known to be complete and acyclic (the document layer has checked). ValueError otherwise."""
    order: list[Address] = []
    done: set[Address] = set()
    for start in sorted(targets):
        stack = [(start, iter(sorted(targets[start])))]
        path = {start}
        while stack:
            address, waiting = stack[-1]
            if address in done:
                stack.pop()
                path.discard(address)
                continue
            target = next((t for t in waiting if t not in done), None)
            if target is None:
                done.add(address)
                path.discard(address)
                order.append(address)
                stack.pop()
            elif target in path or target not in targets:
                raise ValueError(f"{address} refers to {target}, which is {'a cycle' if target in path else 'missing'}")
            else:
                path.add(target)
                stack.append((target, iter(sorted(targets[target]))))
    return order
