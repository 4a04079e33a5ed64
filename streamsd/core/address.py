"""Names of resources and of the processes that make them up."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
_ROLE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$")
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, order=True, slots=True)
class Address:
    """A resource's identity, printed as `Stream/desktop`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `Kind/name`; ValueError when it is not of that form."""
        kind, slash, name = text.partition("/")
        if not slash or not kind.isalnum() or not _NAME.match(name):
            raise ValueError(f"not an address: {text!r} (write Kind/name, such as Stream/desktop)")
        return cls(kind, name)


@dataclass(frozen=True, order=True, slots=True)
class UnitId:
    """One process of a resource, printed as `Stream/desktop/encoder`."""

    address: Address
    role: str

    def __post_init__(self) -> None:
        if not _ROLE.match(self.role):
            raise ValueError(f"not a role: {self.role!r}")

    def __str__(self) -> str:
        return f"{self.address}/{self.role}"

    @property
    def slug(self) -> str:
        """The id as one file name: `Stream.desktop.encoder`. Names hold no dot, so it is unique."""
        return f"{self.address.kind}.{self.address.name}.{self.role}"

    @classmethod
    def parse(cls, text: str) -> UnitId:
        """Read `Kind/name/role`; ValueError when it is not of that form."""
        head, slash, role = text.rpartition("/")
        if not slash:
            raise ValueError(f"not a process: {text!r} (write Kind/name/role)")
        return cls(Address.parse(head), role)
