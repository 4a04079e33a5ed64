"""The Python packages that sources and sinks need: one table, for checks before a start and for the start itself."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from streamsd.core.diagnostics import FieldPath, Problem


@dataclass(frozen=True, slots=True)
class Package:
    """`module`: what is imported. `name`: of the package that has it. `extra`: of streamsd's that brings it; empty
    where streamsd always comes with it."""

    module: str
    name: str
    extra: str = ""

    @property
    def there(self) -> bool:
        """Whether it could be imported."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def missing(self, what: str, path: FieldPath = ()) -> Problem:
        """`what` cannot be had without it."""
        # Not the package by its name alone: the extra says which versions are known to work.
        wanted = f"streamsd[{self.extra}]" if self.extra else "streamsd"
        return Problem(
            "module-missing", f"{what} needs the Python package {self.name}", f"pip install '{wanted}'", path
        )


PACKAGES = {
    "mqtt": Package("paho.mqtt", "paho-mqtt"),
    "kafka": Package("confluent_kafka", "confluent-kafka", "kafka"),
    "nats": Package("nats", "nats-py", "nats"),
    "amqp": Package("pika", "pika", "amqp"),
    "websocket": Package("picows", "picows"),
    "postgres": Package("psycopg", "psycopg", "postgres"),
    "parquet": Package("pyarrow", "pyarrow", "parquet"),
    "grpc": Package("grpc", "grpcio", "grpc"),
    "aes-gcm": Package("cryptography", "cryptography", "encryption"),
}
"""By the transport, format or method that needs it."""

BYTEWAX = Package("bytewax", "bytewax")
"""Comes with streamsd on the Pythons that it has packages for: 3.11 and 3.12."""


def missing_package(what: str, path: FieldPath = ()) -> list[Problem]:
    """A problem when the package that a transport, format or method needs is not there."""
    package = PACKAGES.get(what)
    return [] if package is None or package.there else [package.missing(what, path)]


def missing_module(fault: ImportError, what: str) -> Problem:
    """The problem that an import failed with: it may be there, and lack something itself."""
    module = fault.name or ""
    for package in PACKAGES.values():
        if module and package.module.split(".")[0] == module.split(".")[0]:
            return package.missing(what)
    return Problem("module-missing", f"{what} cannot be loaded: {fault}", "install streamsd anew")
