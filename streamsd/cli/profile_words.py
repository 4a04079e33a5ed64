"""A profile put together from answers, as a text that reads back to the same."""

from __future__ import annotations

import re
from typing import Any

from streamsd.core.secret import REFERENCES, Secret
from streamsd.document.shape import fields_of, may_be_secret

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
    # OBS may show a text that reads like a reference: it is one only where a secret can stand.
    fields = fields_of(model)
    secret = {name for name in spec if name in fields and may_be_secret(fields[name])}
    made = model.model_validate({name: _marked(item) if name in secret else item for name, item in spec.items()})
    said = made.model_dump(mode="json", by_alias=True, exclude_unset=True, context={REFERENCES: True})
    return {name: _escaped(item, keep=name in secret) for name, item in said.items()}


def _marked(value: Any) -> Any:
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        return Secret("-", value)
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value


def _escaped(value: Any, *, keep: bool) -> Any:
    """A text that reads like an expression is written so that it stays a text. `keep`: references are ones."""
    if isinstance(value, str):
        return value if keep and _REFERENCE.fullmatch(value) else value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: _escaped(item, keep=keep) for key, item in value.items()}
    return [_escaped(item, keep=keep) for item in value] if isinstance(value, list) else value
