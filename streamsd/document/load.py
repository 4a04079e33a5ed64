"""Loading a profile: from its files to resources, or to every error in one pass.

bytes -> nodes (parse) -> one body (compose, derive) -> values (interpolate) -> models (validate) -> references.
Never raises for what a profile, its files or its environment hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from streamsd.core.address import Address
from streamsd.core.diagnostics import Diagnostic, FieldPath, Severity, Source, Span
from streamsd.core.kind import Reference, Registry, Resource, diagnostic
from streamsd.document.budget import Budget, TooLarge
from streamsd.document.compose import VARS, Composer
from streamsd.document.derive import KEY as EXTENDS
from streamsd.document.derive import Derivation
from streamsd.document.files import Files
from streamsd.document.findings import Findings
from streamsd.document.interpolate import Interpolation
from streamsd.document.merge import Body
from streamsd.document.nodes import BrokenNode, Entry, locate, source_of
from streamsd.document.references import check_references
from streamsd.document.shape import fields_of
from streamsd.document.templates import TEMPLATES, Templates
from streamsd.document.validate import check


@dataclass(frozen=True)
class Loaded:
    """What a profile comes to.

    `revision` names everything that went in (files, host, variables of the environment, secrets by digest): the same
    inputs, the same 32 hex digits. `resources` is empty when there is any error. `diagnostics` are sorted by place,
    warnings too. `files` is every path that was read or looked for, a directory standing for its listing: what a
    watcher must watch. `documents` are the profile's own files as they were read, without those that hold secrets.
    """

    revision: str
    resources: Mapping[Address, Resource[Any]]
    diagnostics: tuple[Diagnostic, ...]
    files: frozenset[Path]
    documents: Mapping[Path, bytes] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return all(d.severity is not Severity.ERROR for d in self.diagnostics)


@dataclass(frozen=True, slots=True)
class _Locate:
    """A resource's `locate`."""

    entry: Entry

    def __call__(self, path: FieldPath, within: Span | None = None) -> Source | None:
        entry = self.entry.placed
        return locate(entry.key, entry.value, path, within)


def load(
    profile: Path,
    registry: Registry,
    *,
    host: str,
    environ: Mapping[str, str],
    files_as_of: Mapping[Path, bytes] | None = None,
) -> Loaded:
    """Read a profile (a file, or a directory of *.yaml) as it is for `host`. Bad input gives diagnostics, never an
    exception, and no resources. `files_as_of`: the profile's files as they once were, read instead of those on disk."""
    files = Files(environ, files_as_of)
    findings = Findings()
    budget = Budget()
    resources: dict[Address, Resource[Any]] = {}
    try:
        sections = [kind.section for kind in registry]
        body = Composer(files, sections, host, findings, budget).profile(profile)
        resources = _Resources(registry, body, files, findings, budget).all()
    except TooLarge as error:
        findings.error(
            "profile-size", "aliases, variables and extends make the profile too large", error.at, hint="split it"
        )
    return Loaded(
        revision=files.revision(host),
        resources=MappingProxyType({} if findings.errors else resources),
        diagnostics=findings.ordered(),
        files=frozenset(files.seen),
        documents=MappingProxyType(files.documents),
    )


class _Resources:
    """The second half of loading: from one body of declarations to models."""

    def __init__(self, registry: Registry, body: Body, files: Files, findings: Findings, budget: Budget) -> None:
        self._registry = registry
        self._body = body
        self._findings = findings
        self._budget = budget
        self._interpolation = Interpolation(files, body.get(VARS, {}), findings, budget)
        self._templates = Templates(body.get(TEMPLATES, {}), findings, budget)
        self._entries: dict[Address, Entry] = {}
        self._references: dict[Address, tuple[Reference, ...]] = {}
        self._directories: dict[str, Path] = {}

    def all(self) -> dict[Address, Resource[Any]]:
        self._interpolation.check_variables()
        declared = {
            Address(kind.name, name)
            for section, entries in self._body.items()
            if (kind := self._registry.section(section)) is not None
            for name in entries
        }
        # All are resolved before any is validated: a profile that grows too large is refused before it costs much.
        self._resolve()
        made: dict[Address, Resource[Any]] = {}
        for address, entry in self._entries.items():
            kind = self._registry.named(address.kind)
            checked = check(kind, address.name, entry, self._findings)
            self._references[address] = checked.references
            place = _Locate(entry)
            for problem in checked.problems:
                self._findings.add(diagnostic(kind, address.name, place, problem))
            if checked.spec is not None:
                made[address] = Resource(address, checked.spec, place, self._directory(entry.key.file))
        check_references(self._references, declared, self._findings, self._locate, self._path)
        return made

    def _resolve(self) -> None:
        """Every resource with what it extends merged and its expressions resolved; those at fault are left out."""
        for section, entries in self._body.items():
            kind = self._registry.section(section)
            if kind is None:
                continue  # vars, templates
            extensible = EXTENDS not in fields_of(kind.spec)
            derivation = Derivation(
                section, entries, self._interpolation, self._findings, self._budget, self._templates
            )
            for name, declared in entries.items():
                entry = derivation.resolve(name) if extensible else declared
                if entry is None:
                    continue
                if self._templates.used_in(entry.value, top=extensible):
                    value = self._templates.resolve(
                        entry.placed.value, self._interpolation, (section, name), top=extensible
                    )
                    entry = Entry(entry.key, value)
                elif entry.value.dynamic:
                    entry = Entry(entry.key, self._interpolation.node(entry.placed.value))
                if not isinstance(entry.value, BrokenNode):
                    self._budget.spend(entry.value.size, source_of(entry.key))
                    self._entries[Address(kind.name, name)] = entry

    def _directory(self, file: str) -> Path:
        found = self._directories.get(file)
        if found is None:
            found = self._directories[file] = Path(file).absolute().parent
        return found

    def _locate(self, address: Address, path: FieldPath) -> Source | None:
        entry = self._entries[address].placed
        return locate(entry.key, entry.value, path)

    def _path(self, address: Address, path: FieldPath) -> FieldPath:
        return (self._registry.named(address.kind).section, address.name, *path)
