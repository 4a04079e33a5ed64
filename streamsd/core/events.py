"""Events: what happened, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from streamsd.core.clock import rfc3339


@dataclass(frozen=True, slots=True)
class Event:
    """`event` is kebab-case. `address` is empty for what concerns the daemon as a whole. Never holds a secret."""

    at: datetime
    event: str
    address: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return {"at": rfc3339(self.at), "event": self.event, "address": self.address, **self.fields}

    def line(self) -> str:
        return json.dumps(self.to_json(), default=str)
