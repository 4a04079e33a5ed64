"""`${var:x}`, `${env:X}`, `${env:X:-default}`, `${secret:file:PATH}`, `${secret:env:X}`; `$${` is a plain `${`.

Works on nodes, never on text, so every value keeps its place. Alone in a value, an expression gives a value of its own
type; within a text it becomes text. A text with a secret in it is a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from streamsd.core.diagnostics import nearest
from streamsd.core.secret import Secret
from streamsd.document.budget import Budget
from streamsd.document.files import MAX_SECRET_BYTES, Files, Unreadable
from streamsd.document.findings import Findings, bare, hint_among, shown
from streamsd.document.nodes import MAX_DEPTH, BrokenNode, Entry, ListNode, Node, ScalarNode, list_of, map_of, source_of
from streamsd.document.scalars import NotANumber, resolve

EXPRESSION = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FORMS = "${var:x}, ${env:X}, ${env:X:-default}, ${secret:file:PATH} or ${secret:env:X}"
_MAX_TEXT = 1024 * 1024
_MAX_CHAIN = 40


class EnvNode(ScalarNode):
    """A value from the environment: its type is a guess until the field it goes to is known."""

    __slots__ = ()


class Interpolation:
    """Resolves the expressions of one profile. `variables`: its `vars`; None where they are not known yet."""

    def __init__(self, files: Files, variables: Mapping[str, Entry] | None, findings: Findings, budget: Budget) -> None:
        self._files = files
        self._variables = variables
        self._findings = findings
        self._budget = budget
        self._resolved: dict[str, Node] = {}
        self._chain: list[str] = []
        self._outer: Interpolation | None = None
        self._own: frozenset[str] = frozenset()

    def within(self, variables: Mapping[str, Entry], resolved: Mapping[str, Node]) -> Interpolation:
        """The expressions inside a template: its own `variables` come before these, some of them `resolved` already.
        Those of here keep their meaning: what they refer to is looked up here."""
        inner = Interpolation(self._files, {**(self._variables or {}), **variables}, self._findings, self._budget)
        inner._outer, inner._own = self, frozenset(variables)
        inner._resolved.update(resolved)
        return inner

    def node(self, node: Node) -> Node:
        """The node with every expression in it resolved. What is at fault becomes a BrokenNode."""
        if not node.dynamic:
            return node
        self._budget.spend(1, source_of(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, ListNode):
            done: Node = list_of(tuple(self.node(item) for item in node.items), node)
        else:
            done = map_of({name: self._entry(entry) for name, entry in node.entries.items()}, node)
        if done.depth > MAX_DEPTH:
            self._findings.error("yaml-depth", f"variables nest deeper than {MAX_DEPTH} levels", source_of(node))
            return _broken(node)
        return done

    def check_variables(self) -> None:
        """Resolve every variable, used or not, so that a fault in one is told."""
        for name in self._variables or ():
            self._variable(name)

    def _entry(self, entry: Entry) -> Entry:
        return Entry(entry.key, self.node(entry.value))

    def _scalar(self, node: ScalarNode) -> Node:
        text = node.text
        found = list(EXPRESSION.finditer(text))
        if len(found) == 1 and found[0].span() == (0, len(text)) and found[0][1] is not None:
            return self._value(found[0], node)
        parts: list[str] = []
        secret = False
        at = 0
        for match in found:
            parts.append(text[at : match.start()])
            at = match.end()
            if match[1] is None:
                parts.append("${")
                continue
            value = self._value(match, node)
            if isinstance(value, BrokenNode):
                return value
            if not isinstance(value, ScalarNode):
                return self._fault(
                    node, "interpolation-type", f"{shown(match[0])} is not a single value: it cannot stand in a text"
                )
            if isinstance(value.value, Secret):
                secret = True
                parts.append(value.value.reveal())
            else:
                parts.append(value.text)
        parts.append(text[at:])
        whole = "".join(parts)
        if len(whole) > _MAX_TEXT:
            return self._fault(node, "interpolation-size", f"this text grows past {_MAX_TEXT // 1024} KiB")
        self._budget.spend(len(whole) // 64, source_of(node))
        if secret:
            return node._replace(value=Secret(whole), plain=False)
        return node._replace(value=whole, text=whole, plain=False)

    def _value(self, match: re.Match[str], node: ScalarNode) -> Node:
        inner: str = match[1]
        if not match[2]:
            return self._fault(node, "interpolation-syntax", f"{shown(match[0])} has no closing brace")
        if "${" in inner:
            return self._fault(node, "interpolation-syntax", "expressions do not nest", "use a variable of vars")
        what, colon, rest = inner.partition(":")
        match what if colon else "":
            case "var":
                return self._use(rest, node)
            case "env":
                return self._env(rest, node)
            case "secret":
                return self._secret(rest, node)
            case _:
                return self._fault(
                    node, "interpolation-unknown", f"{shown(match[0])} is no expression", _form_hint(inner)
                )

    def _use(self, name: str, node: ScalarNode) -> Node:
        if self._variables is None:
            return self._fault(node, "interpolation-unknown", "variables cannot be used here", "use ${env:X}")
        if name not in self._variables:
            return self._fault(
                node, "var-unknown", f"no variable {shown(name)}", hint_among(name, self._variables, "vars")
            )
        if name in self._chain:
            chain = " -> ".join([*self._chain[self._chain.index(name) :], name])
            return self._fault(node, "var-cycle", f"variables that need each other: {bare(chain, 200)}")
        if len(self._chain) > _MAX_CHAIN:
            return self._fault(node, "var-cycle", f"variables of variables, more than {_MAX_CHAIN} deep")
        value = self._variable(name)
        if isinstance(value, ScalarNode):
            # The value stands where it is used: an error about it points there.
            return value._replace(
                file=node.file, line=node.line, column=node.column, end_line=node.end_line, end_column=node.end_column
            )
        self._budget.spend(value.size, source_of(node))
        return value

    def _variable(self, name: str) -> Node:
        if name not in self._resolved:
            if self._outer is not None and name not in self._own:
                return self._outer._variable(name)
            assert self._variables is not None
            self._chain.append(name)
            try:
                self._resolved[name] = self.node(self._variables[name].placed.value)
            finally:
                self._chain.pop()
        return self._resolved[name]

    def _env(self, rest: str, node: ScalarNode) -> ScalarNode:
        name, marker, default = rest.partition(":-")
        if not _VARIABLE.match(name):
            return self._fault(
                node,
                "interpolation-syntax",
                f"{shown(name)} is no name of a variable",
                "write ${env:X} or ${env:X:-default}",
            )
        text = self._files.env(name)
        if marker and not text:
            text = default
        if text is None:
            return self._fault(
                node,
                "env-missing",
                f"the environment has no {bare(name)}",
                f"set it, or write ${{env:{bare(name)}:-default}}",
            )
        if not _is_text(text):
            return self._fault(node, "env-encoding", f"the value of {bare(name)} is not UTF-8")
        try:
            value = resolve(text) if text else ""
        except NotANumber:
            value = text
        return EnvNode(*node._replace(value=value, text=text, plain=True))

    def _secret(self, rest: str, node: ScalarNode) -> ScalarNode:
        origin, _, name = rest.partition(":")
        if origin == "env" and _VARIABLE.match(name):
            text = self._files.env(name)
            if text is None:
                return self._fault(
                    node, "env-missing", f"the environment has no {bare(name)}", "set it where streamsd starts"
                )
            if not _is_text(text):
                return self._fault(node, "env-encoding", f"the value of {bare(name)} is not UTF-8")
            return node._replace(value=Secret(text, f"${{secret:env:{name}}}"), plain=False)
        if origin == "file" and name:
            return self._secret_file(name, node)
        return self._fault(
            node,
            "interpolation-syntax",
            "a secret comes from a file or from the environment",
            "write ${secret:file:PATH} or ${secret:env:X}",
        )

    def _secret_file(self, name: str, node: ScalarNode) -> ScalarNode:
        path = Path(os.path.normpath(Path(node.file).parent / name))
        content = self._files.read(path, MAX_SECRET_BYTES)
        if isinstance(content, Unreadable):
            return self._fault(
                node, "secret-file", f"the secret in {shown(path, 120)} cannot be read: {content.reason}"
            )
        if len(content.data) > MAX_SECRET_BYTES:
            return self._fault(node, "secret-file", f"{shown(path, 120)} is larger than {MAX_SECRET_BYTES // 1024} KiB")
        try:
            text = content.data.decode()
        except UnicodeDecodeError:
            text = "\0"
        text = text.removesuffix("\n").removesuffix("\r")
        if not _is_text(text):
            return self._fault(node, "secret-file", f"{shown(path, 120)} holds no text")
        if not text:
            return self._fault(node, "secret-file", f"{shown(path, 120)} is empty")
        if content.mode & 0o004:
            self._findings.warning(
                "secret-readable",
                f"every user of this host can read the secret in {shown(path, 120)}",
                source_of(node),
                hint=f"chmod 600 {path}",
            )
        return node._replace(value=Secret(text, f"${{secret:file:{path}}}"), plain=False)

    def _fault(self, node: ScalarNode, code: str, message: str, hint: str = "") -> BrokenNode:
        self._findings.error(code, message, source_of(node), hint=hint)
        return BrokenNode(*node)


def _broken(node: Node) -> BrokenNode:
    return BrokenNode(None, "", True, node.file, node.line, node.column, node.end_line, node.end_column)


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _form_hint(inner: str) -> str:
    name, word = inner.partition(":")[0], bare(inner)
    if _VARIABLE.match(inner) and nearest(name, ["var", "env", "secret"]) is None:
        return f"write ${{env:{word}}} for the environment, ${{var:{word}}} for a variable, or $${{{word}}} to keep it"
    return f"write {_FORMS}; a text keeps its '${{' when it is written '$${{'"
