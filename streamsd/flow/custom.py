"""Steps of an operator's own: a Python function that is called with each batch."""

from __future__ import annotations

import ast
import importlib.util
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from streamsd.core.diagnostics import FieldPath, Problem, name_hint
from streamsd.flow.faults import ROW_ERRORS, RowFault
from streamsd.flow.memory import Outside
from streamsd.flow.records import struct_of
from streamsd.flow.standing import Files
from streamsd.flow.types import Type

Function: TypeAlias = Callable[[list[dict[str, Any]]], Any]

_ALL = "*"
_RELATIVE = "paths are relative to the file of the flow"


class CustomBatch:
    """Calls an operator's own function with a batch of mappings."""

    def __init__(self, function: Function, schema: Mapping[str, Type] | None, file: Path, outside: Outside) -> None:
        self._function = function
        self._file = file
        self._outside = outside
        self._struct = struct_of("Message", schema) if schema is not None else None

    def run(self, rows: list[Any], dead: list[tuple[BaseException, Any]]) -> list[Any]:
        if not rows:
            return []
        try:
            with self._outside:
                made = self._function(msgspec.to_builtins(rows))
        # Whatever a stranger's function raises, sys.exit() too: its batch is dead, told and kept.
        except (Exception, SystemExit) as fault:  # noqa: BLE001
            failed = RowFault("custom-failed", f"{self._place(fault)}{type(fault).__name__}: {fault}")
            dead += [(failed, row) for row in rows]
            return []
        if not isinstance(made, list):
            hint = "does it return the rows?" if made is None else "return list(…)"
            words = f"{self._outside.name} returned {type(made).__name__}, not a list: {hint}"
            failed = RowFault("custom-failed", words)
            dead += [(failed, row) for row in rows]
            return []
        good: list[Any] = []
        for row in made:
            try:
                if type(row) is not dict:
                    words = f"{self._outside.name} returned an item of {type(row).__name__}, not dict"
                    raise RowFault("custom-failed", words)
                good.append(row if self._struct is None else msgspec.convert(row, self._struct))
            except ROW_ERRORS as fault:
                dead.append((fault, row))
        return good

    def _place(self, fault: BaseException) -> str:
        """Where in the operator's file it happened: `mine.py:12 f: `."""
        frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if frame.filename == str(self._file)]
        return f"{self._file.name}:{frames[-1].lineno} {frames[-1].name}: " if frames else ""


def function_of(file: Path, name: str, files: Files, path: FieldPath, problems: list[Problem]) -> Function:
    """The function of a file; what can be known to be wrong with it is told. The file is run where the flow is."""
    if files is Files.UNREAD:
        return _missing
    try:
        tree = ast.parse(file.read_bytes())
        names = set(_defined(tree.body))
    except OSError as fault:
        problems.append(Problem("flow-custom", f"cannot read {file}: {fault.strerror}", _RELATIVE, (*path, "file")))
        return _missing
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        line = f", line {fault.lineno}" if isinstance(fault, SyntaxError) and fault.lineno else ""
        words = fault.msg if isinstance(fault, SyntaxError) else str(fault)
        hint = "correct it: `python -m py_compile FILE` says more"
        problems.append(Problem("flow-custom", f"{file}{line} is not Python: {words}", hint, (*path, "file")))
        return _missing
    if name not in names and _ALL not in names:
        own = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        hint = name_hint(name, [n for n in own if not n.startswith("_")], "it defines")
        problems.append(Problem("flow-custom", f"{file} has no function {name!r}", hint, (*path, "function")))
        return _missing
    return _run(file, name, path, problems) if files is Files.RUN else _missing


def _missing(rows: list[dict[str, Any]]) -> Any:
    raise RowFault("custom-failed", "the function could not be loaded")


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """Names that the file may define at its top, whatever holds when it is run; _ALL: those of another module too."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign() | ast.AnnAssign():
                yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name for alias in names)
            case ast.If(body=first, orelse=second):
                yield from _defined([*first, *second])
            case ast.Try(body=first, handlers=handlers, orelse=second, finalbody=last):
                yield from _defined([*first, *(s for handler in handlers for s in handler.body), *second, *last])
            case ast.With(body=first):
                yield from _defined(first)
            case _:
                pass


def _run(file: Path, name: str, path: FieldPath, problems: list[Problem]) -> Function:
    """What the file does when it is run is its owner's business: it is code, not data."""
    spec = importlib.util.spec_from_file_location(f"flow_custom_{file.stem}", file)
    if spec is None or spec.loader is None:
        problems.append(Problem("flow-custom", f"{file} is no Python file", "call it NAME.py", (*path, "file")))
        return _missing
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as fault:  # noqa: BLE001  # a stranger's file: any fault is a problem of the profile
        frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if frame.filename == str(file)]
        line = f", line {frames[-1].lineno}" if frames else ""
        hint = "what stands at the top of the file runs when the flow starts"
        problems.append(Problem("flow-custom", f"{file}{line}: {type(fault).__name__}: {fault}", hint, (*path, "file")))
        return _missing
    function = getattr(module, name, None)
    if not callable(function):
        hint = f"write def {name}(…): in it, or name another"
        problems.append(Problem("flow-custom", f"{name!r} of {file} is no function", hint, (*path, "function")))
        return _missing
    made: Function = function
    return made
