"""A profile put together from answers, as a text that reads back to the same."""

from __future__ import annotations

import re
from typing import Any

from streamsd.core.secret import REFERENCES, Secret

Json = dict[str, Any]

_REFERENCE = re.compile(r"\$\{secret:(?:file|env):[^}]*\}")


def in_own_words(profile: Json) -> Json:
    """In the order and the words of the kinds' own models, so that the same is always the same text."""
    from streamsd.kinds import load_kinds

    registry = load_kinds()
    found: Json = {"version": 1}
    for kind in registry:
        specs = profile.get(kind.section)
        if specs:
            found[kind.section] = {name: _written(kind.spec, spec) for name, spec in specs.items()}
    return found


def _written(model: Any, spec: Json) -> Any:
    made = model.model_validate(_marked(spec))
    return _escaped(made.model_dump(mode="json", by_alias=True, exclude_unset=True, context={REFERENCES: True}))


def _marked(value: Any) -> Any:
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        return Secret("-", value)
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value


def _escaped(value: Any) -> Any:
    """A text that reads like an expression is written so that it stays a text."""
    if isinstance(value, str):
        return value if _REFERENCE.fullmatch(value) else value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
