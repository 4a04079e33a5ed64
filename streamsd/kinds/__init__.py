"""The kinds that come with streamsd, and those that other packages bring.

A kind is a folder with a `kind.py` that holds `KIND`. Others register theirs as an entry point in `streamsd.kinds`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from importlib.metadata import entry_points

from streamsd.core.kind import Kind, Registry


def load_kinds() -> Registry:
    """Import every kind. Two kinds of one name or section are a programming error: ValueError."""
    found: list[Kind] = []  # type: ignore[type-arg]  # kinds of every spec
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg and importlib.util.find_spec(f"{__name__}.{module.name}.kind"):
            found.append(importlib.import_module(f"{__name__}.{module.name}.kind").KIND)
    found += [point.load() for point in entry_points(group="streamsd.kinds")]
    for what in ("name", "section"):
        names = [getattr(kind, what) for kind in found]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two kinds with the {what} {', '.join(sorted(twice))}")
    return Registry(found)
