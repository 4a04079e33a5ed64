"""`streamsd graph`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from streamsd.cli.command import Session, command

if TYPE_CHECKING:
    from streamsd.core.answers import GraphAnswer


@command("graph")
@click.option("--dot", is_flag=True, help="Write Graphviz's language: `streamsd graph --dot | dot -Tsvg`.")
def graph(session: Session, dot: bool) -> None:
    """Show what depends on what."""
    answer: GraphAnswer = session.client.get("/v1/graph")
    if session.json:
        session.answer(answer)
    else:
        click.echo("\n".join(dot_lines(answer) if dot else tree_lines(answer)))


def tree_lines(graph: GraphAnswer) -> list[str]:
    """What nothing else is needed for comes first, and what stands on it below it, indented."""
    above: dict[str, list[str]] = {name: [] for name in graph["resources"]}
    needs: dict[str, list[str]] = {name: [] for name in graph["resources"]}
    for dependent, target in graph["edges"]:
        above[target].append(dependent)
        needs[dependent].append(target)
    lines: list[str] = []
    seen: set[str] = set()

    def draw(name: str, depth: int) -> None:
        again = name in seen and bool(above[name])
        lines.append("  " * depth + name + (" …" if again else ""))
        if again:
            return
        seen.add(name)
        for dependent in sorted(above[name]):
            draw(dependent, depth + 1)

    for name in sorted(graph["resources"]):
        if not needs[name]:
            draw(name, 0)
    return lines or ["No resources."]


def dot_lines(graph: GraphAnswer) -> list[str]:
    """The graph for Graphviz; an arrow points from what depends to what it depends on."""
    nodes = [f"  {json.dumps(name)};" for name in sorted(graph["resources"])]
    edges = [f"  {json.dumps(a)} -> {json.dumps(b)};" for a, b in sorted(map(tuple, graph["edges"]))]
    return ["digraph streamsd {", "  rankdir=RL;", "  node [shape=box];", *nodes, *edges, "}"]
