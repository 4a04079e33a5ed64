"""A flow's spec in two parts: what a running flow can take in live, and what needs a restart.

The runner is started with a file of each. Live are the steps without memory, the sinks' conditions and steps, the
sources' rate limits and what messages are sealed with; windows, joins, keys and dedupes, addresses and schemas are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from streamsd.core.secret import Secret
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.spec.steps import STATEFUL

_HELD = (*STATEFUL, "key")


def revealed(value: Any) -> Any:
    """A spec as plain JSON values, with its secrets: for private files only."""
    match value:
        case Secret():
            return value.reveal()
        case BaseModel():
            return {
                info.alias or name: revealed(getattr(value, name))
                for name, info in type(value).model_fields.items()
                if name in value.model_fields_set
            }
        case Mapping():
            return {str(key): revealed(item) for key, item in value.items()}
        case list() | tuple():
            return [revealed(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def split(spec: FlowSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what needs a restart, what is live), each as JSON values with secrets."""
    return split_values(revealed(spec))


def split_values(whole: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of a spec's values; they are taken apart."""
    for name in ("tests", "description"):
        whole.pop(name, None)
    live: dict[str, Any] = {"steps": whole.get("steps", [])}
    whole["steps"] = [step for step in live["steps"] if any(name in step for name in _HELD)]
    for one, many in (("source", "sources"), ("sink", "sinks")):
        ends = {one: whole[one]} if one in whole else whole.get(many, {})
        live[many] = {}
        for name, end in ends.items():
            taken = {key: end.pop(key) for key in ("limit", "sealed", "seal", "when", "steps") if key in end}
            if one == "source":
                held = [step for step in taken.get("steps", []) if any(name in step for name in STATEFUL)]
                if held:
                    end["steps"] = held
            live[many][name] = taken
    return whole, live


def joined(held: Mapping[str, Any], live: Mapping[str, Any]) -> FlowSpec:
    """The spec again."""
    whole = json.loads(json.dumps(held))
    whole["steps"] = live["steps"]
    for one, many in (("source", "sources"), ("sink", "sinks")):
        ends = {one: whole[one]} if one in whole else whole.get(many, {})
        for name, end in ends.items():
            end.pop("steps", None)
            end.update(live[many].get(name, {}))
    return FlowSpec.model_validate(whole)


def digest(live: Mapping[str, Any]) -> str:
    """Names a live part. It may hold the key of a `redact` step, so it is hashed slowly enough not to be guessed at."""
    text = json.dumps(live, sort_keys=True).encode()
    return hashlib.scrypt(text, salt=b"streamsd-flow", n=2**12, r=8, p=1, dklen=12).hex()
