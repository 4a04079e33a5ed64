"""Makes the sources and sinks that a flow names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamsd.core.diagnostics import Problem, ProblemsError
from streamsd.flow.plan import SinkPlan, SourcePlan
from streamsd.programs.flow.intake import Intake
from streamsd.programs.flow.life import Life
from streamsd.programs.flow.outlet import Outlet


@dataclass(frozen=True, slots=True)
class Place:
    """`name`: the flow's. `base`: what relative paths are relative to."""

    name: str
    base: Path
    life: Life


def intake_of(plan: SourcePlan, place: Place) -> Intake:
    """The source. ProblemsError when a package that it needs is not installed."""
    spec = plan.spec
    try:
        if spec.generator is not None:
            from streamsd.programs.flow.sources.generator import GeneratorIntake

            return GeneratorIntake(spec.generator)
        if spec.file is not None:
            from streamsd.programs.flow.sources.file import FileIntake

            return FileIntake(spec.file, place.base, spec.max_message.bytes)
    except ImportError as fault:
        raise _missing(fault, spec.transport) from None
    raise AssertionError(f"no source {spec.transport}")


def outlet_of(plan: SinkPlan, place: Place) -> Outlet:
    """The sink. ProblemsError when a package that it needs is not installed."""
    spec = plan.spec
    try:
        if spec.file is not None:
            from streamsd.programs.flow.sinks.file import FileOutlet

            header = ",".join(plan.fields or ()).encode() + b"\n" if spec.format == "csv" else b""
            return FileOutlet.of(spec.file, place.base, place.life, header)
        if spec.stdout is not None:
            from streamsd.programs.flow.sinks.plain import StdoutOutlet

            return StdoutOutlet()
        if spec.discard is not None:
            from streamsd.programs.flow.sinks.plain import DiscardOutlet

            return DiscardOutlet()
    except ImportError as fault:
        raise _missing(fault, spec.transport) from None
    raise AssertionError(f"no sink {spec.transport}")


PACKAGES = {
    "paho": "paho-mqtt",
    "confluent_kafka": "confluent-kafka",
    "nats": "nats-py",
    "psycopg": "psycopg[binary]",
    "picows": "picows",
    "re2": "google-re2",
}


def _missing(fault: ImportError, transport: str) -> ProblemsError:
    module = (fault.name or "").split(".")[0]
    package = PACKAGES.get(module, module)
    return ProblemsError(
        [Problem("module-missing", f"{transport} needs the Python package {package}", f"pip install {package}")]
    )
