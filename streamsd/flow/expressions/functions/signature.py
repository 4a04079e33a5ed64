"""What a function of the language looks like: how it can be called, of which types, and the code of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamsd.flow.types import ANY, COMPUTED_TIME, FLOAT, INT, NUMBER, Base, Type, accepts, list_of, parse_type

Result = Type | Callable[[Sequence[Type]], Type]


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a function. `code` holds {0}, {1} … for the arguments' code and calls names of the runtime.

    `rest`: further arguments of the last parameter's type may follow; they are joined into {rest}.
    """

    params: tuple[tuple[str, Type], ...]
    result: Result
    code: str
    rest: bool = False
    dynamic: bool = False
    """For a first argument whose type is known only when it runs, where the other signatures differ in it."""

    def fits(self, given: Sequence[Type]) -> bool:
        if self.dynamic and not (given and given[0].base is Base.ANY):
            return False
        if len(given) < len(self.params) or (len(given) > len(self.params) and not self.rest):
            return False
        wanted = [kind for _, kind in self.params]
        wanted += [wanted[-1]] * (len(given) - len(wanted)) if wanted else []
        return all(accepts(w, g) for w, g in zip(wanted, given, strict=True))

    def result_for(self, given: Sequence[Type]) -> Type:
        return self.result if isinstance(self.result, Type) else self.result(given)

    def words(self, name: str) -> str:
        inside = ", ".join(f"{param}: {_shown(kind)}" for param, kind in self.params)
        return f"{name}({inside}{', …' if self.rest else ''})"


@dataclass(frozen=True, slots=True)
class Function:
    """`group`: math, text, time, lists, hashing or values."""

    name: str
    group: str
    about: str
    signatures: tuple[Signature, ...]
    example: str

    def words(self) -> str:
        return " or ".join(dict.fromkeys(s.words(self.name) for s in self.signatures if not s.dynamic))


def _shown(kind: Type) -> str:
    return "any" if kind.base is Base.ANY else str(kind)


_WRITTEN = {"number": NUMBER, "list[number]": list_of(NUMBER), "time": COMPUTED_TIME, "any": ANY.or_null()}


def same(given: Sequence[Type]) -> Type:
    return given[0].required()


def item(given: Sequence[Type]) -> Type:
    return (given[0].item or ANY).or_null()


def number_item(given: Sequence[Type]) -> Type:
    return given[0].item if given[0].item is not None and given[0].item.numeric else NUMBER


def widest(given: Sequence[Type]) -> Type:
    bases = {kind.base for kind in given}
    if bases == {Base.INT}:
        return INT
    return FLOAT if bases == {Base.FLOAT} else NUMBER


def signature(code: str, result: Result, params: str) -> Signature:
    """`params` as they are shown: `x: number, digits: int`; a last `…` takes more of the last one."""
    parts = [part.partition(": ") for part in params.split(", ") if part and part != "…"]
    named = tuple((name, _WRITTEN.get(text) or parse_type(text)) for name, _, text in parts)
    return Signature(named, result, code, rest=params.endswith("…"))


def dynamic(code: str, result: Result, params: str = "value: any") -> Signature:
    made = signature(code, result, params)
    return Signature(made.params, made.result, made.code, dynamic=True)


def function(name: str, group: str, about: str, example: str, *signatures: Signature) -> Function:
    return Function(name, group, about, signatures, example)
