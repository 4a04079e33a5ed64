"""What loading answers: revision, files, places; what is read again after an edit; references and excerpts."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamsd.core.address import Address
from streamsd.core.diagnostics import Diagnostic, Source
from streamsd.document import build
from streamsd.document.envelope import declared, envelope
from streamsd.document.excerpt import lines_of, render
from streamsd.document.load import Loaded, load
from tests.unit.document.kinds import REGISTRY, read, told

TEXT = "version: 1\nscreens:\n  a: {fps: 10}\n  b:\n    beside: a\n    gamma: 2.0\n"


def place(loaded: Loaded, name: str, *path: str | int) -> str:
    at = loaded.resources[Address("Screen", name)].locate(path)
    assert at is not None
    return f"{at.line}:{at.column}"


def test_the_same_inputs_are_the_same_revision(tmp_path: Path) -> None:
    first, again = read(tmp_path, TEXT), read(tmp_path, TEXT)
    assert first.revision == again.revision
    assert len(first.revision) == 32
    assert read(tmp_path, TEXT + "#\n").revision != first.revision
    assert load(tmp_path / "gone", REGISTRY, host="h", environ={}).revision != first.revision


def test_places_of_what_is_there_and_of_what_is_not(tmp_path: Path) -> None:
    loaded = read(tmp_path, TEXT)
    assert place(loaded, "b") == "4:3"
    assert place(loaded, "b", "gamma") == "6:12"
    assert place(loaded, "b", "fps") == "4:3"
    assert place(loaded, "b", "gamma", "deeper", 0) == "6:5"


def test_an_edit_elsewhere_moves_places_and_keeps_models(tmp_path: Path) -> None:
    before = read(tmp_path, TEXT)
    after = read(tmp_path, TEXT.replace("a: {fps: 10}", "a:\n    # two lines more\n    fps: 20"))
    assert place(after, "b", "gamma") == "8:12"
    assert place(after, "b") == "6:3"
    assert after.resources[Address("Screen", "b")].spec is before.resources[Address("Screen", "b")].spec
    again = read(tmp_path, TEXT.replace("a: {fps: 10}", "a:\n    # two lines more\n    fps: 20").replace("2.0", "bad"))
    assert told(again) == ["8:12 value-type"]


def test_an_edit_in_one_resource_reads_that_resource(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "version: 1\nscreens:\n" + "".join(f"  s{i}:\n    fps: {i + 1}\n" for i in range(200))
    assert told(read(tmp_path, text)) == []
    read_texts: list[str] = []
    real = build.Builder.__init__

    def spy(self: build.Builder, text: str, *rest: object, **more: object) -> None:
        read_texts.append(text)
        real(self, text, *rest, **more)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(build.Builder, "__init__", spy)
    edited = read(tmp_path, text.replace("fps: 101\n", "fps: 101\n    gamma: 3.0\n"))
    assert told(edited) == []
    assert read_texts == ["  s100:\n    fps: 101\n    gamma: 3.0\n"]
    assert place(edited, "s199", "fps") == "403:10"


def test_references_to_nothing_and_cycles(tmp_path: Path) -> None:
    text = (
        "version: 1\nscreens:\n  a: {beside: b}\n  b: {beside: c}\n  c: {beside: a, fps: 0}\n"
        "  d: {beside: d}\n  e: {beside: aa}\ncasts:\n  x: {screen: e, codec: no, also: [e, f]}\n"
    )
    loaded = read(tmp_path, text)
    assert told(loaded) == [
        "3:15 reference-cycle",
        "5:23 value-range",
        "6:15 reference-cycle",
        "7:15 reference-unknown",
        "9:25 value-choice",
        "9:39 reference-unknown",
    ]
    assert "Screen/a -> Screen/b -> Screen/c -> Screen/a" in loaded.diagnostics[0].message
    assert loaded.diagnostics[3].hint == "did you mean 'a'? declared: a, b, c, d, e"
    assert loaded.diagnostics[5].to_json()["path"] == "casts.x.also[1]"


def test_a_long_chain_is_no_recursion(tmp_path: Path) -> None:
    lines = [f"  s{i}: {{beside: s{i + 1}}}" for i in range(5000)]
    loaded = read(tmp_path, "version: 1\nscreens:\n" + "\n".join(lines) + "\n  s5000: {beside: s0}\n")
    assert [d.code for d in loaded.diagnostics] == ["reference-cycle"]


def test_many_errors_are_cut_and_counted(tmp_path: Path) -> None:
    lines = [f"  s{i}: {{beside: nothing{i}}}" for i in range(3000)]
    loaded = read(tmp_path, "version: 1\nscreens:\n" + "\n".join(lines) + "\n")
    assert loaded.diagnostics[-1].message == "2900 more errors are not shown"
    assert "more" in loaded.diagnostics[0].hint
    assert not loaded.valid


def test_files_as_they_once_were(tmp_path: Path) -> None:
    read(tmp_path, "broken: [")
    loaded = load(
        tmp_path / "profile.yaml",
        REGISTRY,
        host="h",
        environ={},
        files_as_of={tmp_path / "profile.yaml": TEXT.encode()},
    )
    assert told(loaded) == []


def test_an_envelope_has_everything_in_json_types(tmp_path: Path) -> None:
    loaded = read(tmp_path, "version: 1\nscreens: {s: {}}\ncasts: {c: {screen: s, class: x, token: hunter2}}\n")
    found = envelope(loaded.resources[Address("Cast", "c")], {"ready": True})
    assert (found["apiVersion"], found["kind"], found["name"]) == ("streamsd/v1", "Cast", "c")
    assert found["status"] == {"ready": True}
    assert (found["spec"]["class"], found["spec"]["token"], found["spec"]["bitrate"]) == ("x", "***", None)
    assert envelope(loaded.resources[Address("Screen", "s")])["spec"]["resolution"] == "1280x720"


def test_what_is_declared_is_said_without_defaults_and_with_references_for_secrets(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    (tmp_path / "key").chmod(0o600)
    references = f"c: {{screen: s, token: '${{secret:file:{tmp_path}/key}}'}}, d: {{screen: s, token: hunter2}}"
    loaded = read(tmp_path, f"version: 1\nscreens: {{s: {{}}}}\ncasts: {{{references}}}\n")
    c, d = (declared(loaded.resources[Address("Cast", name)]) for name in "cd")
    assert c == {"screen": "s", "token": f"${{secret:file:{tmp_path}/key}}"}
    assert d == {"screen": "s", "token": "${secret:}"}, "never the secret that stands in the profile itself"


def shown(text: str, at: Source, code: str = "x", hint: str = "") -> str:
    return render(Diagnostic(code, "wrong", hint, at), lambda file: lines_of(text))


def test_an_excerpt_has_a_caret_below_what_is_wrong() -> None:
    assert shown("a: 1\nb: {c: oops}\n", Source("p", 2, 8, 2, 12), hint="write one") == (
        "p:2:8: error: wrong [x]\n  2 | b: {c: oops}\n    |        ^^^^\n  hint: write one"
    )


def test_excerpts_of_odd_lines() -> None:
    assert shown("", Source("p", 1, 1)) == "p:1:1: error: wrong [x]\n  1 | \n    | ^"
    assert shown("a", Source("p", 9, 9)) == "p:9:9: error: wrong [x]"
    assert "  1 | 日本 x\n    |      ^" in shown("日本 x", Source("p", 1, 4))
    assert "  1 | a   x\n    |     ^" in shown("a\t\t\tx", Source("p", 1, 5))
    assert "\x1b" not in shown("a\x1b[31mx", Source("p", 1, 1))
    long = shown("x" * 200 + "here" + "y" * 200, Source("p", 1, 201, 1, 205)).splitlines()
    assert long[1].index("here") == long[2].index("^")
    assert len(long[1]) < 120
    multi = shown("a: |\n  text\n", Source("p", 1, 4, 3, 1))
    assert multi.endswith("  1 | a: |\n    |    ^")
    assert render(Diagnostic("x", "wrong"), lambda file: None) == "error: wrong [x]"


def test_an_excerpt_masks_a_secret() -> None:
    said = shown("key: hunter2 # c", Source("p", 1, 6, 1, 13), "secret-inline")
    assert "hunter2" not in said
    assert "  1 | key: *** # c\n    |      ^^^" in said


def test_a_profile_of_an_impossible_name_is_told(tmp_path: Path) -> None:
    loaded = load(tmp_path / ("x" * 300), REGISTRY, host="h", environ={})
    assert [d.code for d in loaded.diagnostics] == ["profile-unreadable"]
