"""Spoilt profiles: every one gets an answer, never a traceback, and never takes much time or memory.

STREAMSD_EXAMPLES=5000 looks at more of them, and at others each time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsd.core.kind import Registry
from streamsd.document.excerpt import lines_of, render
from streamsd.document.load import load
from streamsd.document.nodes import MAX_BYTES
from streamsd.document.schema import example_of, kind_schema
from streamsd.document.syntax import BREAK
from streamsd.kinds import load_kinds
from tests.property.spec_values import Draw, make, spoil

KINDS = load_kinds()
SCHEMAS = [(kind.section, kind_schema(kind)) for kind in KINDS]
COMPOSED = """\
version: 1
include: [other.yaml, 'parts/*.yaml']
vars: {rate: 30, name: desk, deep: '${var:name}-x', list: [a, b]}
x-base: &base {description: "${var:deep}"}
displays:
  desk: {resolution: 1280x720, <<: *base}
  wall: {extends: desk, dpi: '${var:rate}'}
apps:
  clock:
    display: ${var:name}
    command: [xclock, "-update", "1"]
    env: {A: '${secret:env:TOKEN}', B: '${env:HOME:-x}'}
hosts:
  studio: {displays: {desk: {resolution: 1920x1080}}}
"""
BASES = [COMPOSED, *(example_of(kind) for kind in KINDS if example_of(kind))]
FRAGMENTS = (
    "${", "}", "${var:deep}", "${env:X}", "${secret:file:profile.yaml}", "${secret:env:TOKEN}", "$${", "*base",
    "&base ", "<<: ", "!replace ", "!!int ", "!x ", ": ", "- ", "? ", "[", "]", "{", "}", ",", "#", "'", '"', "|\n",
    ">-\n", "\n", "\t", "  ", "---\n", "...\n", "%YAML 1.2\n", "\ufeff", "\u2028", "\x85", "\x00", "\x1b[31m", "日本",
    "\r\n", "\r", "null", "~", "true", ".inf", "1e999", "0x", "9" * 50, "extends: clock", "extends: wall",
    "include: profile.yaml", "version: 2", "hosts: 1", "\\", '"\\ud800"', '"\\x00"', "[" * 70, "- " * 70, "{a: " * 70,
    "a: &a [*a]", "=", "../", "/",
)  # fmt: skip


def bad(registry: Registry, directory: Path, data: bytes) -> int:
    """Load a profile as `validate` does, print what is wrong with it, and count the errors."""
    path = directory / "profile.yaml"
    path.write_bytes(data)
    loaded = load(path, registry, host="studio", environ={"TOKEN": "hunter2", "X": "5"})
    text = data.decode("utf-8", "replace")
    lines = len(BREAK.split(text))
    for found in loaded.diagnostics:
        said = render(found, lambda file: lines_of(text))
        assert "\x1b" not in said
        assert said.isprintable() or "\n" in said
        json.dumps(found.to_json())
        if found.at is not None and found.at.file == str(path):
            assert 1 <= found.at.line <= lines + 1
            assert found.at.column >= 1
    assert loaded.valid == (not [d for d in loaded.diagnostics if d.severity == "error"])
    assert loaded.valid or not loaded.resources
    return len(loaded.diagnostics)


def examples(number: int) -> settings:
    return settings(
        max_examples=int(os.environ.get("STREAMSD_EXAMPLES", str(number))),
        deadline=None,
        derandomize="STREAMSD_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@examples(150)
@given(data=st.data())
def test_a_spoilt_text_gets_an_answer(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    draw = Draw(data.draw)
    text = draw.of(BASES)
    for _ in range(draw.number(1, 5)):
        at, length = draw.number(0, len(text)), draw.number(0, 12)
        lines = text.split("\n")
        line = draw.number(0, len(lines) - 1)
        match draw.number(0, 5):
            case 0:
                text = text[:at] + text[at + length :]
            case 1:
                lines.insert(draw.number(0, len(lines)), lines[line])
                text = "\n".join(lines)
            case 2:
                lines[line] = " " * draw.number(0, 6) + lines[line].strip()
                text = "\n".join(lines)
            case 3:
                text = text[:at] + text[:length]
            case _:
                text = text[:at] + draw.of(FRAGMENTS) + text[at:]
    encoded = text.encode()
    if draw.chance(5):
        encoded = encoded[: len(encoded) // 2] + bytes([draw.number(0, 255)]) + encoded[len(encoded) // 2 :]
    bad(KINDS, Path(tmp_path_factory.getbasetemp()), encoded)


@examples(35)
@given(data=st.data())
def test_a_spoilt_tree_gets_an_answer(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    draw = Draw(data.draw)
    profile: dict[str, Any] = {"version": 1, "vars": {"a": "${var:b}", "b": 5}}
    for section, schema in SCHEMAS:
        if draw.chance(40):
            profile[section] = {"x": make(draw, schema, schema), "y": {"extends": "x"}}
    for _ in range(draw.number(1, 3)):
        profile = spoil(draw, profile)
        if not isinstance(profile, dict):
            break
    text = json.dumps(profile).replace(
        '"desk"', draw.of(('"desk"', '"${var:a}"', '"${env:X}"', '"${secret:env:TOKEN}"'))
    )
    bad(KINDS, Path(tmp_path_factory.getbasetemp()), text.encode())


def bombs() -> dict[str, str]:
    """Texts of moderate size that mean something enormous."""
    nine = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    eight = [f"  v{i}: ['${{var:v{i - 1}}}', '${{var:v{i - 1}}}', '${{var:v{i - 1}}}']" for i in range(1, 40)]
    doubling = [f"  v{i}: '${{var:v{i - 1}}}${{var:v{i - 1}}}'" for i in range(1, 60)]
    wide = ", ".join(f"K{i}: x" for i in range(2000))
    heirs = "\n".join(f"  b{i}: {{extends: b{i - 1}, env: {{L{i}: x}}}}" for i in range(1, 3000))
    head = "version: 1\n"
    return {
        "aliases": "x: &a0 [x]\n" + "\n".join(nine),
        "lists of variables": head + "vars:\n  v0: [x]\n" + "\n".join(eight),
        "texts of variables": head + "vars:\n  v0: xx\n" + "\n".join(doubling),
        "heirs": head + f"apps:\n  b0: {{command: [x], env: {{{wide}}}}}\n" + heirs,
        "merges": f"b: &b {{{wide}}}\n" + "\n".join(f"c{i}: {{<<: *b}}" for i in range(3000)),
        "brackets": "a: " + "[" * 500_000,
        "blocks": "- " * 500_000,
        "questions": "? " * 500_000,
        "commas": "a: [" + ",".join("1" * 300_000) + "]",
        "keys": "a: {" + ", ".join(f"k{i}" for i in range(130_000)) + "}",
        "one text": "a: '" + "x" * 3_900_000,
        "references": head + "apps:\n" + "".join(f"  a{i}: {{command: [x], display: d{i}}}\n" for i in range(3000)),
        "unknown fields": head + "apps:\n" + "".join(f"  a{i}: {{comand: [x], dsplay: d}}\n" for i in range(3000)),
        "duplicates": "a: {" + "b: 1, " * 70_000 + "}",
        "percent": "%" * 1_000_000,
        "quotes": '"' * 1_000_000,
        "comments": "#\n" * (MAX_BYTES // 2 - 10),
        "too large": "#" * (MAX_BYTES * 3),
    }


def test_no_text_takes_much_memory_or_time(tmp_path: Path) -> None:
    """In a process of its own that the kernel ends when it takes more processor time or memory than it may."""
    for name, text in bombs().items():
        (tmp_path / f"{name}.yaml").write_text(text)
    script = (
        "import json, resource, sys\nfrom pathlib import Path\nfrom streamsd.kinds import load_kinds\n"
        "from streamsd.document.load import load\nfrom streamsd.document.excerpt import lines_of, render\n"
        "kinds = load_kinds()\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before, told = peak(), {}\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.yaml')):\n"
        "    loaded = load(path, kinds, host='h', environ={})\n"
        "    assert not loaded.valid\n"
        "    [render(d, lambda file: lines_of(Path(file).read_text())) for d in loaded.diagnostics[:5]]\n"
        "    told[path.stem] = loaded.diagnostics[0].code\n"
        "print(json.dumps([told, peak() - before]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (120, 120)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told, megabytes = json.loads(done.stdout)
    assert set(told) == set(bombs())
    assert megabytes < 200
    assert told["aliases"] == told["merges"] == "yaml-size"
    assert told["brackets"] == told["blocks"] == told["questions"] == "yaml-depth"
    assert told["heirs"] == told["lists of variables"] == "profile-size"
