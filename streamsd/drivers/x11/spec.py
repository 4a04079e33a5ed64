"""What a profile says of a window, wherever one is captured."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from streamsd.core.kind import Spec

_Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]+$")]


def _title_or_class(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": ["title"]}, {"required": ["class"]}]


class Window(Spec):
    """A window, by its title, its class, or both. It is waited for, also when it has gone. Of several the highest is
    taken."""

    model_config = ConfigDict(json_schema_extra=_title_or_class)

    title: _Word | None = None
    """A part of the title, in any case."""

    class_: _Word | None = Field(default=None, alias="class")
    """The class or instance (WM_CLASS), as xprop shows it, in any case."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set & {"title", "class_"}:
            raise ValueError("give a title, a class, or both")
        return self
