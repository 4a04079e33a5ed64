"""include, extends, hosts: what stands beside, below and above."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from streamsd.core.address import Address
from streamsd.document.load import Loaded, load
from tests.unit.document.kinds import REGISTRY, Screen, read, told

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def screen(loaded: Loaded, name: str) -> Screen:
    assert told(loaded) == []
    spec = loaded.resources[Address("Screen", name)].spec
    assert isinstance(spec, Screen)
    return spec


def main(path: Path, host: str = "studio") -> Loaded:
    return load(path, REGISTRY, host=host, environ={"WHERE": "parts"})


def test_included_files_stand_beside(write: Write, tmp_path: Path) -> None:
    write("parts/one.yaml", "screens: {one: {fps: 10}}\n")
    write("parts/two.yaml", "version: 1\nvars: {fps: 20}\nscreens: {two: {fps: '${var:fps}'}}\n")
    loaded = main(write("p.yaml", "version: 1\ninclude: ['${env:WHERE}/*.yaml']\nscreens: {three: {}}\n"))
    assert (screen(loaded, "one").fps, screen(loaded, "two").fps, screen(loaded, "three").fps) == (10, 20, 30)
    assert loaded.resources[Address("Screen", "one")].base == tmp_path / "parts"
    assert {tmp_path / "parts", tmp_path / "parts/one.yaml", tmp_path / "p.yaml"} <= loaded.files


def test_the_same_name_twice_is_told_with_both_places(write: Write) -> None:
    write("one.yaml", "\nscreens: {a: {}}\n")
    loaded = main(write("p.yaml", "version: 1\ninclude: one.yaml\nscreens: {a: {}}\n"))
    (clash,) = loaded.diagnostics
    assert (clash.code, clash.at.line if clash.at else 0) == ("name-clash", 2)
    assert "p.yaml:3:11" in clash.hint
    assert loaded.resources == {}


def test_a_file_included_twice_is_one(write: Write) -> None:
    write("c.yaml", "screens: {c: {}}\n")
    write("a.yaml", "include: c.yaml\n")
    write("b.yaml", "include: [c.yaml, a.yaml]\n")
    assert screen(main(write("p.yaml", "version: 1\ninclude: [a.yaml, b.yaml]\n")), "c").fps == 30


def test_a_base_lies_below(write: Write) -> None:
    write("base/b.yaml", "version: 1\nvars: {f: 5}\nscreens: {a: {fps: '${var:f}', gamma: 2.0}, b: {}}\n")
    loaded = main(write("p.yaml", "version: 1\nextends: base/b.yaml\nvars: {f: 50}\nscreens: {a: {gamma: 3.0}}\n"))
    assert (screen(loaded, "a").fps, screen(loaded, "a").gamma, screen(loaded, "b").fps) == (50, 3.0, 30)
    assert loaded.resources[Address("Screen", "a")].base.name == "base"
    at = loaded.resources[Address("Screen", "a")].locate(("gamma",))
    assert at is not None
    assert at.file.endswith("p.yaml")


def test_the_overlay_of_this_host_lies_above(write: Write) -> None:
    text = (
        "version: 1\nscreens: {a: {fps: 10}}\n"
        "hosts:\n  studio: {screens: {a: {fps: 20}, b: {}}}\n  other: {screens: {a: {fps: 40}}}\n"
    )
    path = write("p.yaml", text)
    assert screen(main(path, "studio.example.org"), "a").fps == 20
    assert screen(main(path, "other"), "a").fps == 40
    assert Address("Screen", "b") in main(path, "studio").resources
    assert Address("Screen", "b") not in main(path, "other").resources
    assert main(path, "other").revision != main(path, "studio").revision


def test_replace_takes_the_whole_mapping(tmp_path: Path) -> None:
    text = (
        "version: 1\nscreens: {s: {}}\n"
        "casts:\n  a: {screen: s, sinks: {x: {file: {path: p}}}}\n  b:\n    extends: a\n    sinks: {x: %s{rtmp: {url: 'rtmp://x'}}}\n"
    )
    assert told(read(tmp_path, text % "")) == ["7:13 value-invalid"]
    assert told(read(tmp_path, text % "!replace ")) == []


def test_a_resource_extends_another(tmp_path: Path) -> None:
    text = (
        "version: 1\nscreens:\n  a: {fps: 10, gamma: 2.0}\n  b: {extends: a, fps: 20}\n  c: {extends: b, gamma: 4.0}\n"
    )
    loaded = read(tmp_path, text)
    assert (screen(loaded, "c").fps, screen(loaded, "c").gamma) == (20, 4.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("screens: {a: {extends: b}, b: {extends: a}}", ["2:41 extends-cycle"]),
        ("screens: {a: {extends: aa}}", ["2:24 extends-unknown"]),
        ("screens: {a: {extends: [b]}, b: {}}", ["2:24 extends-type"]),
        ("include: nowhere.yaml", ["2:10 include-unreadable"]),
        ("include: [profile.yaml]", ["2:11 include-cycle"]),
        ("include: /dev/zero", ["2:10 include-unreadable"]),
        ("include: .", ["2:10 include-unreadable"]),
        ("include: 5", ["2:10 include-unreadable"]),
        ("include: [[a]]", ["2:11 include-type"]),
        ("include: '**/*.yaml'", ["2:10 include-pattern"]),
        ("include: 'x*.yaml'", ["2:10 include-nothing"]),
        ("include: '${var:x}'", ["2:10 interpolation-unknown"]),
        ("extends: '*.yaml'", ["2:10 include-pattern"]),
        ("hosts: 5", ["2:8 section-type"]),
        ("hosts: {a: 5}", ["2:12 section-type"]),
        ("hosts: {a: {scrreens: {}}}", ["2:13 section-unknown"]),
        ("hosts: {a: {screens: []}}", ["2:22 section-type"]),
        ("scrreens: {}", ["2:1 section-unknown"]),
        ("x-anything: [1, 2]", []),
        ("screens: [a]", ["2:10 section-type"]),
        ("screens:", []),
        ("screens: {'a b': {}}", ["2:11 name-invalid"]),
        ("screens: {'a/b': {fps: x}}", ["2:11 name-invalid", "2:24 value-type"]),
    ],
)
def test_faults(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert told(read(tmp_path, f"version: 1\n{text}\n")) == expected


def test_faults_of_the_whole(tmp_path: Path) -> None:
    assert told(read(tmp_path, "")) == ["1:1 profile-empty"]
    assert told(read(tmp_path, "- a\n")) == ["1:1 profile-type"]
    assert told(read(tmp_path, "screens: {}\n")) == ["1:1 version-missing"]
    assert told(read(tmp_path, "version: 2\n")) == ["1:10 version-unknown"]
    assert told(read(tmp_path, "version: '1'\n")) == ["1:10 version-unknown"]
    assert told(read(tmp_path, "version: true\n")) == ["1:10 version-unknown"]
    gone = load(tmp_path / "gone.yaml", REGISTRY, host="h", environ={})
    assert told(gone) == ["profile-unreadable"]
    assert gone.files == {tmp_path / "gone.yaml"}
    assert not gone.valid


def test_a_directory_is_a_profile(write: Write, tmp_path: Path) -> None:
    write("d/b.yml", "screens: {b: {}}\n")
    write("d/a.yaml", "version: 1\nscreens: {a: {beside: b}}\n")
    write("d/.hidden.yaml", "- no\n")
    loaded = main(tmp_path / "d")
    assert told(loaded) == []
    assert [str(a) for a in loaded.resources] == ["Screen/a", "Screen/b"]
    assert tmp_path / "d" in loaded.files
    write("d/a.yaml", "screens: {a: {}}\n")
    assert told(main(tmp_path / "d")) == ["1:1 version-missing"]
    (tmp_path / "empty").mkdir()
    assert told(main(tmp_path / "empty")) == ["profile-empty"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert told(read(tmp_path, "version: 1\ninclude: pipe.yaml\n")) == ["2:10 include-unreadable"]
    assert told(load(tmp_path / "pipe.yaml", REGISTRY, host="h", environ={})) == ["profile-unreadable"]


def test_a_chain_of_bases_that_grows_is_stopped(tmp_path: Path) -> None:
    wide = ", ".join(f"k{i}: {{file: {{path: p}}}}" for i in range(1000))
    casts = [f"  a0: {{screen: s, sinks: {{{wide}}}}}"]
    casts += [f"  a{i}: {{extends: a0, sinks: {{x{i}: {{file: {{path: p}}}}}}}}" for i in range(1, 300)]
    assert [
        d.code for d in read(tmp_path, "version: 1\nscreens: {s: {}}\ncasts:\n" + "\n".join(casts)).diagnostics
    ] == ["profile-size"]
