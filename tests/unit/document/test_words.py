"""What pydantic says, as people read it: place, words, hint."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streamsd.document.excerpt import lines_of, render
from tests.unit.document.kinds import read


@pytest.mark.parametrize(
    ("fields", "place", "message", "hint"),
    [
        ("scren: s", "3:13", "unknown field 'scren'", "did you mean 'screen'?"),
        ("codec: av1", "3:9", "screen is missing", "The screen to capture"),
        ("screen: s, codec: h265", "3:31", "codec cannot be 'h265'", "did you mean 'h264'? allowed: av1, h264, hevc"),
        ("screen: s, channels: 3", "3:34", "channels cannot be '3'", "allowed: 1 or 2"),
        ("screen: s, bitrate: fast", "3:33", "bitrate is not a bit rate: the text 'fast'", "write 4500k, 6M"),
        ("screen: s, muted: no", "3:31", "muted must be true or false, not the text 'no'", "write false"),
        ("screen: 5", "3:21", "screen must be a text, not the number 5", 'put it in quotes: "5"'),
        ("screen: ", "3:13", "screen must be a text, not nothing", "leave the key out"),
        ("screen: s, also: s", "3:30", "also must be a list, not the text 's'", "write [s]"),
        ("screen: s, also: [s, 7]", "3:34", "also[1] must be a text, not the number 7", "quotes"),
        ("screen: s, also: [s, t]", "3:34", "no Screen is called 't'", "declared: s"),
        ("screen: s, sinks: {a: {}}", "3:32", "a: give exactly one of rtmp and file", ""),
        ("screen: s, sinks: {a: {rtpm: {}}}", "3:36", "unknown field 'rtpm'", "did you mean 'rtmp'?"),
        ("screen: s, sinks: {a: {rtmp: {url: x}}}", "3:48", "url cannot be 'x'", "it must match ^rtmps?://"),
        ("screen: s, sinks: {a: {file: p}}", "3:42", "file must be a mapping, not the text 'p'", "write file: {...}"),
        ("screen: s, sinks: [a]", "3:24", "sinks must be a mapping, not a list", ""),
        ("screen: s, effects: [{type: blr}]", "3:35", "effects[0] cannot be of the sort 'blr'", "did you mean 'blur'?"),
        ("screen: s, effects: [{radius: 1}]", "3:35", "effects[0] does not say what it is", "fields:"),
        ("screen: s, effects: [{type: blur, radius: -1}]", "3:55", "radius must be at least 0, not the number -1", ""),
        ("screen: s, effects: [{type: crop}]", "3:35", "box is missing", ""),
        ("screen: s, steps: [{filtr: x}]", "3:33", "unknown field 'filtr'", "did you mean 'filter'?"),
        ("screen: s, steps: [{window: 1s, filter: x}]", "3:33", "unknown field 'window'", "fields: filter"),
        ("screen: s, size: large", "3:30", "size must be a resolution or 'screen', not the text", "WIDTHxHEIGHT"),
        ("screen: s, extra: {filter: 5}", "3:40", "filter must be a text, not the number 5", "quotes"),
        (
            "screen: s, extra: {windw: 5s}",
            "3:32",
            "unknown field 'windw'",
            "did you mean 'window'? fields: filter, window",
        ),
        ("screen: s, extra: 5", "3:31", "extra must be a mapping, not the number 5", ""),
        ("screen: s, env: {A: 1.5}", "3:33", "A must be a text or a whole number", ""),
        ("screen: s, token: 5", "3:31", "token must be a text", "quotes"),
        ("screen: s, class: aaaaaaaaaaaaaaaaaaaaaaaaa", "3:31", "class is too long", "at most 20 characters"),
        ('screen: s, class: "\\e[31m", codec: "\\e[31m"', "3:48", "codec cannot be '\ufffd[31m'", "allowed"),
    ],
)
def test_one_fault_one_sentence(tmp_path: Path, fields: str, place: str, message: str, hint: str) -> None:
    loaded = read(tmp_path, f"version: 1\nscreens: {{s: {{}}}}\ncasts: {{c: {{{fields}}}}}\n")
    (found,) = loaded.diagnostics
    assert found.at is not None
    assert f"{found.at.line}:{found.at.column}" == place
    assert found.message.startswith(message)
    assert hint in found.hint


def test_every_error_in_one_pass(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        "version: 1\nwhat: 1\nscreens:\n  s: {fps: 0, fps: 1, gamma: x}\n  't t': {}\n"
        "casts:\n  c: {screen: q, codec: x, bitrate: '${env:NO}'}\nhosts: {x: {y: {}}}\n",
    )
    assert [d.code for d in loaded.diagnostics] == [
        "section-unknown",
        "value-range",
        "duplicate-key",
        "value-type",
        "name-invalid",
        "reference-unknown",
        "value-choice",
        "env-missing",
        "section-unknown",
    ]


def test_numbers_without_a_fraction_are_whole(tmp_path: Path) -> None:
    assert read(tmp_path, "version: 1\nscreens: {s: {fps: 30.0, gamma: 2}}\n").valid


def test_a_thousand_unknown_fields_on_one_line_are_told_in_no_time(tmp_path: Path) -> None:
    fields = ", ".join(f"{'x' * 990}{number}: 1" for number in range(1000))
    text = f"version: 1\nscreens: {{s: {{{fields}}}}}\n"
    began = time.process_time()
    loaded = read(tmp_path, text)
    lines = lines_of(text)
    said = [render(found, lambda file: lines) for found in loaded.diagnostics]
    # A second where nothing else runs; it took twenty.
    assert time.process_time() - began < 10
    assert len(said) == 101
    assert said[-1] == "error: 900 more errors are not shown [too-many-errors]"
    assert max(map(len, said)) < 1000
