"""Stored states that an apply may reset: named by whoever asks, marked by their kinds, kept where it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from streamsd.core.address import Address
from streamsd.core.kind import Registry
from streamsd.core.service import Refused
from streamsd.engine.desired import Desired


@contextmanager
def resets_allowed(
    names: Sequence[str], accepted: Mapping[Address, Desired], registry: Registry
) -> Iterator[Mapping[Address, str]]:
    """While an apply is decided on: gives what comes of it for each of these resources, in their kinds' words. Where
    that ends in an exception, the states are kept. Refused for a name that is none, or that keeps no state."""
    named = [_named(name, accepted, registry) for name in names]
    allowed: list[Desired] = []
    words: dict[Address, str] = {}
    try:
        for desired in named:
            allowed.append(desired)
            kind = registry.named(desired.address.kind)
            try:
                words[desired.address] = kind.allow_reset(desired.resource, desired.compiled)
            except OSError as fault:
                message = f"the state of {desired.address} cannot be reset: {fault.strerror}"
                raise Refused(422, {"error": "reset-failed", "message": message}) from fault
        yield words
    except BaseException:
        for desired in allowed:
            with suppress(OSError):  # what is told is why it was refused
                registry.named(desired.address.kind).withdraw_reset(desired.resource, desired.compiled)
        raise


def _named(name: str, accepted: Mapping[Address, Desired], registry: Registry) -> Desired:
    keeping = {address: desired for address, desired in accepted.items() if registry.named(address.kind).keeps_state}
    found = [address for address in keeping if name in (address.name, str(address))]
    if len(found) == 1:
        return keeping[found[0]]
    if found:
        message, shown = f"there are several {name!r} that keep state", sorted(map(str, found))
        raise Refused(400, {"error": "resource-ambiguous", "message": message, "hint": f"one of: {', '.join(shown)}"})
    known = ", ".join(sorted(map(str, keeping)))
    hint = f"there are: {known}" if known else "no resource of the running profile does"
    message = f"there is no resource {name!r} that keeps state"
    raise Refused(404, {"error": "resource-unknown", "message": message, "hint": hint})
