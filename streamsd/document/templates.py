"""`templates`: fragments with variables, taken over by `extends: NAME` and `with: {variable: value}`.

A template is a mapping with its variables under `vars`: each with its default, or with nothing, and then it has to be
given. It is not run by itself, and what it says is only checked where it is used. `extends` takes one over as a whole
resource, and as any mapping inside one: an item of a scene, a destination, a step. What stands beside `extends` is
merged over it. Expressions see the template's variables first and the profile's `vars` behind them, each in its own
place: a variable of the profile does not change its meaning inside a template.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamsd.core.diagnostics import FieldPath
from streamsd.document.budget import Budget
from streamsd.document.derive import KEY as EXTENDS
from streamsd.document.derive import WITH
from streamsd.document.findings import Findings, hint_among, shown
from streamsd.document.interpolate import Interpolation
from streamsd.document.merge import deep_merge
from streamsd.document.nodes import (
    MAX_DEPTH,
    BrokenNode,
    Entry,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    kind_of,
    list_of,
    map_of,
    source_of,
)

TEMPLATES = "templates"
_VARS = "vars"
_MAX_CHAIN = 40


class Templates:
    """The templates of one profile. A fault is told once and becomes a BrokenNode."""

    def __init__(self, declared: Mapping[str, Entry], findings: Findings, budget: Budget) -> None:
        self._declared = declared
        self._findings = findings
        self._budget = budget
        self._chain: list[str] = []
        for name, entry in declared.items():
            if not isinstance(entry.value, MapNode):
                self._findings.error(
                    "template-type",
                    f"a template is a mapping, not {kind_of(entry.value)}",
                    source_of(entry.key),
                    hint="write the fields under its name, such as vars: and those of what extends it",
                    path=(TEMPLATES, name),
                )

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def used_in(self, node: Node, *, top: bool) -> bool:
        """Whether a mapping in it extends something. `top`: the node itself counts too."""
        if not self._declared or isinstance(node, ScalarNode):
            return False
        if isinstance(node, ListNode):
            return any(self.used_in(item, top=True) for item in node.items)
        if top and EXTENDS in node.entries:
            return True
        return any(self.used_in(entry.value, top=True) for entry in node.entries.values())

    def resolve(self, node: Node, scope: Interpolation, path: FieldPath, *, top: bool = True) -> Node:
        """The node with every template in it taken over and every expression resolved, each once, in its own scope."""
        if isinstance(node, ScalarNode):
            return scope.node(node)
        if isinstance(node, ListNode):
            items = (self.resolve(item, scope, (*path, n)) for n, item in enumerate(node.items))
            return list_of(tuple(items), node)
        uses = top and EXTENDS in node.entries
        own = map_of(
            {
                name: Entry(entry.key, self.resolve(entry.placed.value, scope, (*path, name)))
                for name, entry in node.entries.items()
                if not (uses and name in (EXTENDS, WITH))
            },
            node,
        )
        if not uses:
            return own._replace(replace=node.replace)
        below = self._taken(node, scope, path)
        return below if isinstance(below, BrokenNode) else deep_merge(below, own, self._budget)

    def _taken(self, node: MapNode, scope: Interpolation, path: FieldPath) -> Node:
        said = scope.node(node.entries[EXTENDS].placed.value)
        if isinstance(said, BrokenNode):
            return said
        name = said.value if isinstance(said, ScalarNode) else None
        if not isinstance(name, str):
            message = f"extends takes the name of a template, not {kind_of(said)}"
            return self._fault(said, "extends-type", message, (*path, EXTENDS), "write extends: NAME")
        template = self._declared.get(name)
        if template is None:
            hint = hint_among(name, self._declared)
            return self._fault(said, "extends-unknown", f"no template {shown(name)}", (*path, EXTENDS), hint)
        if name in self._chain or len(self._chain) > _MAX_CHAIN:
            chain = " -> ".join([*self._chain, name])
            message = f"templates that extend each other: {chain}"
            hint = f"take extends out of one of them, such as {name}"
            return self._fault(said, "extends-cycle", message, (*path, EXTENDS), hint)
        body = template.placed.value
        if not isinstance(body, MapNode):
            return BrokenNode(None, "", True, body.file, body.line, body.column, body.end_line, body.end_column)
        inner = self._scope(name, body, node, scope, path)
        if isinstance(inner, BrokenNode):
            return inner
        self._budget.spend(body.size, source_of(said))
        rest = map_of({key: entry for key, entry in body.entries.items() if key != _VARS}, body)
        self._chain.append(name)
        try:
            found = self.resolve(rest, inner, (TEMPLATES, name))
        finally:
            self._chain.pop()
        if found.depth > MAX_DEPTH:
            message = f"templates nest deeper than {MAX_DEPTH} levels"
            return self._fault(said, "yaml-depth", message, (*path, EXTENDS), "write some of them out")
        return found

    def _scope(
        self, name: str, body: MapNode, node: MapNode, scope: Interpolation, path: FieldPath
    ) -> Interpolation | BrokenNode:
        """The variables inside: those given, else the template's own."""
        defaults = self._mapping(body.get(_VARS), (TEMPLATES, name, _VARS))
        given = self._mapping(node.get(WITH), (*path, WITH))
        if isinstance(defaults, BrokenNode):
            return defaults
        if isinstance(given, BrokenNode):
            return given
        for key, entry in given.items():
            if key not in defaults:
                hint = hint_among(key, defaults) if defaults else "it has no vars"
                message = f"the template {shown(name)} has no variable {shown(key)}"
                return self._fault(entry.key, "with-unknown", message, (*path, WITH, key), hint)
        for key, entry in defaults.items():
            if key not in given and isinstance(entry.value, ScalarNode) and entry.value.value is None:
                at = node.entries[EXTENDS].placed.value
                message = f"the template {shown(name)} needs {shown(key)}"
                hint = f"write with: {{{key}: …}} beside extends"
                return self._fault(at, "with-missing", message, (*path, EXTENDS), hint)
        values = {key: self.resolve(entry.placed.value, scope, (*path, WITH, key)) for key, entry in given.items()}
        return scope.within({**defaults, **given}, values)

    def _mapping(self, node: Node | None, path: FieldPath) -> Mapping[str, Entry] | BrokenNode:
        if node is None or (isinstance(node, ScalarNode) and node.value is None):
            return {}
        if isinstance(node, MapNode):
            return node.entries
        message = f"{path[-1]} is a mapping of variables, not {kind_of(node)}"
        return self._fault(node, "with-type", message, path, f"write {path[-1]}: {{NAME: value}}")

    def _fault(self, node: Node, code: str, message: str, path: FieldPath, hint: str = "") -> BrokenNode:
        at = source_of(node)
        self._findings.error(code, message, at, hint=hint, path=path)
        return BrokenNode(None, "", True, at.file, at.line, at.column, at.end_line, at.end_column)
