"""From files to one body of declarations: `include`, `extends`, `hosts` overlays.

A file is composed by itself first: what it includes stands beside what it declares, what it extends lies below, and the
overlay of this host lies on top. So an overlay in the main profile reaches everything, one in a base only the base.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from streamsd.core.address import NAME_PATTERN
from streamsd.core.diagnostics import FieldPath, Source, name_hint
from streamsd.core.secret import Secret
from streamsd.document.budget import Budget
from streamsd.document.files import Files, Unreadable, absolute, is_directory
from streamsd.document.findings import Findings, shown
from streamsd.document.interpolate import Interpolation
from streamsd.document.merge import Body, join, overlay
from streamsd.document.nodes import BrokenNode, Entry, ListNode, MapNode, Node, ScalarNode, kind_of, source_of
from streamsd.document.parse import parse
from streamsd.document.templates import TEMPLATES

VERSION = 1
VARS = "vars"
_DIRECTIVES = ("version", "include", "extends", VARS, TEMPLATES, "hosts")
_NAME = re.compile(NAME_PATTERN)
_WILDCARD = re.compile(r"[*?\[]")
_MAX_CHAIN = 32


class Composer:
    """Composes the profile of one host. `sections`: the kinds' keys."""

    def __init__(self, files: Files, sections: Collection[str], host: str, findings: Findings, budget: Budget) -> None:
        self._files = files
        self._sections = sections
        self._hosts = (host, host.partition(".")[0])
        self._findings = findings
        self._budget = budget
        self._environment = Interpolation(files, None, findings, budget)
        self._done: dict[str, Body | None] = {}
        self._chain: list[str] = []
        self._versioned = False

    def profile(self, path: Path) -> Body:
        """The whole profile: a file, or the *.yaml and *.yml of a directory side by side."""
        if not is_directory(path):
            return self._file(path, None) or {}
        body: Body = {}
        found = sorted([*self._files.listing(path, "*.yaml"), *self._files.listing(path, "*.yml")])
        if not found:
            self._findings.error(
                "profile-empty", f"no *.yaml in {path}", None, hint="write one that begins with version: 1"
            )
        for file in found:
            body = join(body, self._file(file, None, part=True) or {}, self._findings)
        if found and not self._versioned and not self._findings.errors:
            self._findings.error(
                "version-missing",
                "no file of this profile states its version",
                Source(str(found[0]), 1, 1),
                hint="write version: 1",
            )
        return body

    def _file(self, path: Path, at: Source | None, *, part: bool = False) -> Body | None:
        """One file, composed. `at`: where it is named; None for the profile itself. None when it cannot be used."""
        name = absolute(path)
        if name in self._chain:
            chain = " -> ".join(Path(p).name for p in [*self._chain[self._chain.index(name) :], name])
            self._findings.error("include-cycle", f"files that include each other: {chain}", at)
            return None
        if len(self._chain) >= _MAX_CHAIN:
            self._findings.error("include-cycle", f"files within files, more than {_MAX_CHAIN} deep", at)
            return None
        if name not in self._done:
            self._chain.append(name)
            self._done[name] = self._compose(path, at, main=at is None and not part)
            self._chain.pop()
        return self._done[name]

    def _compose(self, path: Path, at: Source | None, main: bool) -> Body | None:
        root = self._read(path, at, main)
        if root is None:
            return None
        self._check_keys(root, main)
        body = self._declarations(root, ())
        include = root.get("include")
        if include is not None:
            for file, named_at in self._named_files(include, "include"):
                body = join(body, self._file(file, named_at) or {}, self._findings)
        extends = root.get("extends")
        if extends is not None:
            below: Body = {}
            for file, named_at in self._named_files(extends, "extends"):
                below = overlay(below, self._file(file, named_at) or {}, self._budget)
            body = overlay(below, body, self._budget)
        hosts = root.get("hosts")
        return body if hosts is None else self._overlays(hosts, body)

    def _read(self, path: Path, at: Source | None, main: bool) -> MapNode | None:
        content = self._files.document(path)
        if isinstance(content, Unreadable):
            code = "profile-unreadable" if at is None else "include-unreadable"
            self._findings.error(code, f"{shown(path, 200)} cannot be read: {content.reason}", at)
            return None
        parsed = parse(content.data, str(path))
        self._findings.extend(parsed.diagnostics)
        root = parsed.root
        if root is None and any(d.severity == "error" for d in parsed.diagnostics):
            return None
        if root is None or (isinstance(root, ScalarNode) and root.value is None):
            if main:
                self._findings.error(
                    "profile-empty", "the profile is empty", Source(str(path), 1, 1), hint="begin with version: 1"
                )
            return None
        if not isinstance(root, MapNode):
            self._findings.error(
                "profile-type",
                f"a profile is a mapping of sections, not {kind_of(root)}",
                source_of(root),
                hint="begin with version: 1",
            )
            return None
        return root

    def _check_keys(self, root: MapNode, main: bool) -> None:
        version = root.entries.get("version")
        if version is not None:
            self._versioned = True
            value = version.value
            if not (isinstance(value, ScalarNode) and value.value == VERSION and type(value.value) is int):
                self._findings.error(
                    "version-unknown",
                    f"this streamsd reads version {VERSION} of profiles",
                    source_of(value),
                    hint=f"write version: {VERSION}",
                    path=("version",),
                )
        elif main:
            self._findings.error(
                "version-missing",
                "the profile does not state its version",
                source_of(root),
                hint=f"write version: {VERSION} at the top",
                path=("version",),
            )
        for name, entry in root.entries.items():
            if name not in _DIRECTIVES and name not in self._sections and not name.startswith("x-"):
                self._unknown_section(entry, [*_DIRECTIVES, *self._sections], (name,))

    def _unknown_section(self, entry: Entry, known: Collection[str], path: FieldPath) -> None:
        self._findings.error(
            "section-unknown",
            f"unknown section {shown(entry.key.text)}",
            source_of(entry.key),
            hint=name_hint(entry.key.text, known, "sections"),
            path=path,
        )

    def _declarations(self, root: MapNode, prefix: FieldPath) -> Body:
        body: Body = {}
        for name, entry in root.entries.items():
            if name in self._sections or name in (VARS, TEMPLATES):
                body[name] = self._section(name, entry, (*prefix, name))
        return body

    def _section(self, section: str, declared: Entry, path: FieldPath) -> dict[str, Entry]:
        node = declared.value
        if isinstance(node, ScalarNode) and node.value is None:
            return {}
        if not isinstance(node, MapNode):
            self._findings.error(
                "section-type",
                f"{section} is a mapping of names, not {kind_of(node)}",
                source_of(node),
                hint="write each one as name: {...}",
                path=path,
            )
            return {}
        for name, entry in node.entries.items():
            if not _NAME.fullmatch(name):
                self._findings.error(
                    "name-invalid",
                    f"{shown(name)} cannot be a name",
                    source_of(entry.key),
                    hint="a name is up to 63 letters, digits, '-' and '_', and begins with a letter or digit",
                    path=(*path, name),
                )
        return dict(node.entries)

    def _overlays(self, hosts: Node, body: Body) -> Body:
        if not isinstance(hosts, MapNode):
            self._findings.error(
                "section-type",
                f"hosts is a mapping of host names, not {kind_of(hosts)}",
                source_of(hosts),
                path=("hosts",),
            )
            return body
        for host, entry in hosts.entries.items():
            over = self._overlay(host, entry.placed)
            if over and host in self._hosts:
                body = overlay(body, over, self._budget)
        return body

    def _overlay(self, host: str, entry: Entry) -> Body:
        """What a host's overlay declares; its sections are checked whether it is this host's or not."""
        node, path = entry.value, ("hosts", host)
        if isinstance(node, ScalarNode) and node.value is None:
            return {}
        if not isinstance(node, MapNode):
            self._findings.error(
                "section-type", f"an overlay is a mapping of sections, not {kind_of(node)}", source_of(node), path=path
            )
            return {}
        for name, section in node.entries.items():
            if name not in self._sections and name not in (VARS, TEMPLATES):
                self._unknown_section(section, [VARS, TEMPLATES, *self._sections], (*path, name))
        return self._declarations(node, path)

    def _named_files(self, node: Node, directive: str) -> list[tuple[Path, Source]]:
        """The files that `include` or `extends` names, relative to the file that says so."""
        found: list[tuple[Path, Source]] = []
        for item in node.items if isinstance(node, ListNode) else (node,):
            at = source_of(item)
            item = self._environment.node(item)
            if isinstance(item, BrokenNode):
                continue
            if not isinstance(item, ScalarNode) or isinstance(item.value, Secret) or not item.text:
                self._findings.error(
                    "include-type", f"{directive} takes names of files, not {kind_of(item)}", at, path=(directive,)
                )
                continue
            path = Path(os.path.normpath(Path(item.file).parent / item.text))
            if not _WILDCARD.search(item.text):
                found.append((path, at))
            elif directive == "extends" or _WILDCARD.search(item.text.rpartition("/")[0]):
                self._findings.error(
                    "include-pattern", "a wildcard may stand in the file name under include only", at, path=(directive,)
                )
            else:
                matching = self._files.listing(path.parent, path.name)
                if not matching:
                    self._findings.warning(
                        "include-nothing", f"no file matches {shown(item.text)}", at, path=(directive,)
                    )
                found.extend((file, at) for file in matching if absolute(file) != self._chain[-1])
        return found
