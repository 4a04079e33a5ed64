"""How state is written: pickled, since it is ours alone, in a private directory, and must be quick."""

from __future__ import annotations

import pickle
from typing import Any


def dump(state: Any) -> bytes:
    return pickle.dumps(state, 5)


def load(data: bytes) -> Any:
    """Only ever what `dump` wrote into the flow's own recovery store (0600 under 0700)."""
    return pickle.loads(data)  # noqa: S301  # see above
