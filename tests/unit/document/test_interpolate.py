"""Expressions: their types, their places, their faults; and that secrets go nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamsd.core.address import Address
from streamsd.core.secret import Secret
from streamsd.document.envelope import envelope
from streamsd.document.load import Loaded
from tests.unit.document.kinds import Cast, Screen, read, told

HEAD = "version: 1\nscreens: {s: {}}\n"


def cast(loaded: Loaded) -> Cast:
    assert told(loaded) == []
    spec = loaded.resources[Address("Cast", "c")].spec
    assert isinstance(spec, Cast)
    return spec


def test_a_variable_alone_keeps_its_type(tmp_path: Path) -> None:
    text = (
        "version: 1\nvars: {rate: 50, name: s, both: '${var:name}', sinks: {a: {file: {path: '${var:name}.ts'}}}}\n"
        "screens: {s: {fps: '${var:rate}'}}\n"
        "casts: {c: {screen: '${var:both}', sinks: '${var:sinks}', class: 'x-${var:rate}-$${y}'}}\n"
    )
    loaded = read(tmp_path, text)
    spec = cast(loaded)
    screen = loaded.resources[Address("Screen", "s")].spec
    assert isinstance(screen, Screen)
    assert (screen.fps, spec.screen, spec.class_) == (50, "s", "x-50-${y}")
    assert str(spec.sinks["a"].file) == "path=PosixPath('s.ts') keep=None max_size=None"


def test_the_environment_takes_the_type_that_the_field_wants(tmp_path: Path) -> None:
    text = (
        HEAD
        + "casts: {c: {screen: s, class: '${env:N}', channels: '${env:N}', "
        + "bitrate: '${env:B:-4500k}', muted: '${env:M}'}}\n"
    )
    spec = cast(read(tmp_path, text, environ={"N": "2", "B": "", "M": "true"}))
    assert (spec.class_, spec.channels, str(spec.bitrate), spec.muted) == ("2", 2, "4500k", True)


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    (tmp_path / "key").chmod(0o600)
    text = HEAD + (
        "casts: {c: {screen: s, token: '${secret:file:key}', "
        "env: {A: '${secret:env:TOKEN}', B: 'x-${var:t}', C: plain}}}\n"
        "vars: {t: '${secret:env:TOKEN}'}\n"
    )
    loaded = read(tmp_path, text, environ={"TOKEN": "s3cret"})
    spec = cast(loaded)
    assert spec.token == Secret("hunter2")
    assert spec.env == {"A": Secret("s3cret"), "B": Secret("x-s3cret"), "C": "plain"}
    assert tmp_path / "key" in loaded.files
    said = str(envelope(loaded.resources[Address("Cast", "c")])) + repr(loaded)
    assert "hunter2" not in said
    assert "s3cret" not in said
    other = read(tmp_path, text, environ={"TOKEN": "other"})
    assert other.revision != loaded.revision
    assert read(tmp_path, text, environ={"TOKEN": "s3cret", "UNUSED": "x"}).revision == loaded.revision
    (tmp_path / "key").write_text("hunter3\n")
    assert read(tmp_path, text, environ={"TOKEN": "s3cret"}).revision != loaded.revision


def test_a_secret_that_anyone_can_read_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    (tmp_path / "key").chmod(0o644)
    loaded = read(tmp_path, HEAD + "casts: {c: {screen: s, token: '${secret:file:key}'}}\n")
    assert told(loaded) == ["3:31 secret-readable"]
    assert loaded.valid
    assert loaded.resources


def test_a_secret_in_the_profile_itself_is_warned_of(tmp_path: Path) -> None:
    loaded = read(tmp_path, HEAD + "casts: {c: {screen: s, token: hunter2, env: {A: plain}}}\n")
    assert told(loaded) == ["3:31 secret-inline"]
    assert told(read(tmp_path, "# moved\n" + HEAD + "casts: {c: {screen: s, token: hunter2, env: {A: plain}}}\n")) == [
        "4:31 secret-inline"
    ]
    assert all("hunter2" not in f"{d.message} {d.hint}" for d in loaded.diagnostics)


@pytest.mark.parametrize(
    "field",
    ["class", "screen", "bitrate", "channels", "muted", "size", "also", "sinks", "codec", "effects"],
)
def test_a_secret_goes_into_no_other_field(tmp_path: Path, field: str) -> None:
    screen = "" if field == "screen" else "screen: s, "
    loaded = read(tmp_path, HEAD + f"casts: {{c: {{{screen}{field}: '${{secret:env:T}}'}}}}\n", environ={"T": "h264"})
    assert {d.code for d in loaded.diagnostics} == {"secret-misplaced"}
    assert all("h264" not in f"{d.message} {d.hint}" for d in loaded.diagnostics)


def test_a_secret_goes_into_no_field_that_takes_anything(tmp_path: Path) -> None:
    text = HEAD + "casts: {c: {screen: s, settings: {a: [x, '${secret:env:T}']}}}\n"
    assert told(read(tmp_path, text, environ={"T": "x"})) == ["3:42 secret-misplaced"]


def test_a_secret_in_an_unknown_field(tmp_path: Path) -> None:
    text = HEAD + "casts: {c: {screen: s, tokn: '${secret:env:T}'}}\n"
    assert told(read(tmp_path, text, environ={"T": "x"})) == ["3:24 field-unknown"]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("${var:nope}", "var-unknown"),
        ("${env:NOPE}", "env-missing"),
        ("${env:a-b}", "interpolation-syntax"),
        ("${env:}", "interpolation-syntax"),
        ("${env:LATIN}", "env-encoding"),
        ("${HOME}", "interpolation-unknown"),
        ("${evn:X}", "interpolation-unknown"),
        ("${}", "interpolation-unknown"),
        ("${var:a", "interpolation-syntax"),
        ("${env:${var:a}}", "interpolation-syntax"),
        ("${secret:X}", "interpolation-syntax"),
        ("${secret:file:}", "interpolation-syntax"),
        ("${secret:file:nowhere}", "secret-file"),
        ("${secret:file:.}", "secret-file"),
        ("${secret:file:binary}", "secret-file"),
        ("${secret:file:empty}", "secret-file"),
        ("${secret:env:NOPE}", "env-missing"),
        ("x-${var:list}", "interpolation-type"),
    ],
)
def test_faults_are_told_once_where_they_stand(tmp_path: Path, value: str, code: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "empty").write_bytes(b"\n")
    text = HEAD + f"casts: {{c: {{screen: s, channels: '{value}'}}}}\nvars: {{a: 1, list: [1]}}\n"
    assert told(read(tmp_path, text, environ={"LATIN": "\udcff"})) == [f"3:34 {code}"]


def test_variables_that_need_each_other(tmp_path: Path) -> None:
    loaded = read(tmp_path, "version: 1\nvars: {a: '${var:b}', b: 'x${var:c}', c: '${var:a}'}\n")
    assert [d.code for d in loaded.diagnostics] == ["var-cycle"]
    assert "a -> b -> c -> a" in loaded.diagnostics[0].message


def test_bombs_of_variables_are_stopped(tmp_path: Path) -> None:
    lists = ["  a0: [x, x, x, x, x, x, x, x]"]
    lists += [
        f"  a{i}: [{', '.join([f'${{var:a{i - 1}}}'] * 8)}]".replace("${", "'${").replace("}", "}'")
        for i in range(1, 12)
    ]
    assert [d.code for d in read(tmp_path, "version: 1\nvars:\n" + "\n".join(lists)).diagnostics] == ["profile-size"]
    texts = ["  a0: xxxxxxxx"] + [f"  a{i}: '{f'${{var:a{i - 1}}}' * 8}'" for i in range(1, 12)]
    assert "interpolation-size" in [
        d.code for d in read(tmp_path, "version: 1\nvars:\n" + "\n".join(texts)).diagnostics
    ]
    chain = ["  a0: x"] + [f"  a{i}: ['${{var:a{i - 1}}}']" for i in range(1, 3000)]
    codes = {d.code for d in read(tmp_path, "version: 1\nvars:\n" + "\n".join(reversed(chain))).diagnostics}
    assert codes <= {"var-cycle", "yaml-depth", "too-many-errors"}
    assert codes


def test_a_secret_that_is_missing_is_no_secret_that_stands_in_the_file(tmp_path: Path) -> None:
    for secret in ("${secret:env:NONE}", "${env:NONE}", "Bearer ${env:NONE}"):
        loaded = read(tmp_path, HEAD + f"casts: {{c: {{screen: s, token: '{secret}'}}}}\n")
        assert [found.code for found in loaded.diagnostics] == ["env-missing"]


def test_a_long_name_is_told_short(tmp_path: Path) -> None:
    long = "N" * 5000
    loaded = read(
        tmp_path,
        HEAD + f"casts: {{c: {{screen: s, token: '${{secret:env:{long}}}', env: {{A: '${{env:{long}}}', "
        f"B: '${{{long}}}', C: '${{var:{long}}}'}}}}}}\n",
    )
    assert len(loaded.diagnostics) == 4
    assert [d for d in loaded.diagnostics if len(d.message) + len(d.hint) > 300] == []
