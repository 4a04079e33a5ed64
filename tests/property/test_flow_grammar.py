"""The grammar that is published and the parser, held to each other: every sentence of the grammar is read, and what is
read is a sentence of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lark
import pytest

from streamsd.document.load import load
from streamsd.flow.expressions.functions import FUNCTIONS
from streamsd.flow.expressions.grammar import IGNORED, RULES, TERMINALS
from streamsd.kinds import load_kinds
from tests.unit.flow.test_expressions import BAD, HOSTILE, faults_of

ROOT = Path(__file__).parents[2]
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)+"|[A-Za-z]+|[=|()\[\]{}]')
SAMPLES = {
    "NAME": ["n", "temp_c", "null", "true", "lower", "röm", "_x1"],
    "NUMBER": ["0", "7", "1_000", "2.5", ".5", "1.", "1e-3", "0xfF"],
    "TEXT": ["'a'", '"b"', "''", r"'\n\'\x41'", r"r'\d'", "'''x\n'''", "'{}'"],
    "FTEXT": ["f'{n}'", "f'a{{b}}'", 'f"{n + 1} {[1]} {temp_c if n else 2}"', "f''"],
}


def rules() -> dict[str, list[str]]:
    """Each rule and its tokens, from the page itself."""
    page = (ROOT / "docs/flows.md").read_text()
    assert RULES in page
    made: dict[str, list[str]] = {}
    for text in re.split(r"\n(?=\w)", RULES.strip()):
        name, _, body = text.partition("=")
        made[name.strip()] = _TOKENS.findall(body)
    return made


GRAMMAR = rules()


def _for_lark(token: str) -> str:
    # A word ends where no letter follows: `orma` is no `or`.
    return f"/{token[1:-1]}(?!\\w)/" if re.fullmatch(r'"\w+"', token) else {"{": "(", "}": ")*"}.get(token, token)


def parser() -> lark.Lark:
    """The same for a generator of parsers."""
    lines = [f"{name}: {' '.join(map(_for_lark, body))}" for name, body in GRAMMAR.items()]
    # A regular expression of Python's may match slashes: lark wants them escaped.
    lines += [f"{name}: /{pattern.replace('/', chr(92) + '/')}/" for name, pattern in TERMINALS.items()]
    lines += [f"IGNORED: /{IGNORED}/", "%ignore IGNORED"]
    return lark.Lark("\n".join(lines), start="expression", parser="lalr")


PARSER = parser()


def derivable(text: str) -> bool:
    """Whether the grammar has the text, and what stands in the braces of texts in it."""
    try:
        parts = [part for tree in PARSER.parse(text).iter_subtrees() for part in tree.children]
    except lark.exceptions.LarkError:
        return False
    pieces = [part for part in parts if isinstance(part, lark.Token) and part.type == "FTEXT"]
    return all(inner is not None and derivable(inner) for piece in pieces for inner in inside(piece))


def inside(text: str) -> Iterator[str | None]:
    """The expressions in an f'…'; None where its braces are wrong."""
    prefix = len(text) - len(text.lstrip("rRfF"))
    quote = text[prefix : prefix + 3] if text[prefix : prefix + 3] in ("'''", '"""') else text[prefix]
    body = text[prefix + len(quote) : -len(quote)]
    depth = start = 0
    at = 0
    while at < len(body):
        if not depth and body[at : at + 2] in ("{{", "}}"):
            at += 1
        elif body[at] in "{[(":
            if body[at] == "{" or depth:
                start = at + 1 if not depth else start
                depth += 1
        elif body[at] in "}])" and (depth or body[at] == "}"):
            depth -= 1
            if depth < 0:
                yield None
                return
            if not depth:
                # Neither backslashes nor comments: what Python 3.11 reads.
                yield None if "\\" in body[start:at] or "#" in body[start:at] else body[start:at]
        at += 1
    if depth:
        yield None


def alternatives(body: list[str]) -> list[list[Any]]:
    """What a rule, or what stands in brackets, may be: sequences of tokens and of `(bracket, alternatives)`. The body
    is taken up to the bracket's end."""
    made: list[list[Any]] = [[]]
    while body and body[0] not in (")", "]", "}"):
        token = body.pop(0)
        if token == "|":
            made.append([])
        elif token in ("(", "[", "{"):
            made[-1].append((token, alternatives(body)))
            body.pop(0)
        else:
            made[-1].append(token)
    return made


TREES = {name: alternatives(list(body)) for name, body in GRAMMAR.items()}


class Sentences:
    """Random sentences of the grammar."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def words(self, options: list[list[Any]], depth: int) -> Iterator[str]:
        for part in self.chance.choice(options):
            if isinstance(part, tuple):
                bracket, inner = part
                times = 1 if bracket == "(" else int(self.chance.random() < 0.25)
                while bracket == "{" and times and self.chance.random() < 0.3:
                    times += 1
                for _ in range(times):
                    yield from self.words(inner, depth)
            elif part.startswith('"'):
                yield part[1:-1]
            elif part in SAMPLES:
                yield self.chance.choice(SAMPLES[part])
            elif depth <= 0 and part not in ("compare", "text"):
                yield "'a': n" if part == "pair" else "n"
            else:
                yield from self.words(TREES[part], depth - 1)

    def draw(self) -> str:
        return " ".join(self.words(TREES["expression"], 24))


def reads(text: str) -> bool:
    return not faults_of(text)


def bounded(text: str) -> bool:
    """Refused for its size alone."""
    faults = faults_of(text)
    return bool(faults) and all("at most" in fault.message or "too deep" in fault.message for fault in faults)


@pytest.mark.parametrize("seed", range(4))
def test_every_sentence_of_the_grammar_is_read(seed: int) -> None:
    sentences = Sentences(seed)
    for _ in range(150):
        text = sentences.draw()
        assert derivable(text), text
        assert reads(text) or bounded(text), text


def written() -> list[str]:
    """Every expression of the examples and of the tables of the documentation."""
    found = [function.example for function in FUNCTIONS.values()]
    for profile in [*ROOT.glob("examples/flows/*.yaml"), ROOT / "streamsd/kinds/flow/example.yaml"]:
        loaded = load(profile, load_kinds(), host="anywhere", environ={})
        for address, resource in loaded.resources.items():
            if address.kind == "Flow":
                found += expressions(resource.spec.model_dump(mode="json", exclude={"tests"}))
    return sorted(set(found))


def expressions(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from expressions(item, key if key in ("map", "set", "emit") else name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from expressions(item, key)
    elif isinstance(value, str) and key in ("filter", "when", "map", "set", "emit", "time", "on"):
        yield value


CORPUS = written()


def test_every_expression_that_is_written_anywhere_is_a_sentence() -> None:
    assert len(CORPUS) > 80
    assert [text for text in CORPUS if not derivable(text)] == []
    assert [text for text in CORPUS if not reads(text)] == []


def test_parser_and_grammar_refuse_the_same() -> None:
    for text in [*(row[0] for row in BAD), *HOSTILE, "1) + (2", "a)(b", "(lower)(room)", "x[1:2:]", "1if n else 2"]:
        assert reads(text) == derivable(text) or bounded(text), text


@pytest.mark.parametrize("seed", range(4))
def test_parser_and_grammar_agree_on_what_is_nearly_an_expression(seed: int) -> None:
    chance, sentences = random.Random(seed), Sentences(seed)
    pieces = [*"()[]{},:.+-*/%<>=! '\"f", "//", "==", "!=", " is ", " not ", " in ", " and ", " or ", " if ", " else "]
    pieces += [
        " None ",
        " null ",
        " for ",
        "lambda x:",
        "**",
        "&",
        "~",
        ":=",
        " n ",
        " 1 ",
        "'a'",
        " # ",
        "\n",
        "class",
    ]
    for _ in range(300):
        text = chance.choice(CORPUS) if chance.random() < 0.5 else sentences.draw()
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(text) + 1)
            match chance.randrange(3):
                case 0:
                    text = text[:at] + text[at + chance.randrange(1, 4) :]
                case 1:
                    text = text[:at] + chance.choice(pieces) + text[at:]
                case _:
                    end = at + chance.randrange(1, 8)
                    text = text[:at] + text[end:] + text[at:end]
        assert reads(text) == derivable(text) or bounded(text), repr(text)
