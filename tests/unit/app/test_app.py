"""The app kind: what a spec comes to, and what is wrong with one."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from streamsd.core.address import Address
from streamsd.core.kind import Problem, Resource, references_of
from streamsd.core.secret import Secret
from streamsd.core.settings import Settings
from streamsd.core.unit import (
    Check,
    CommandOk,
    FileExists,
    HttpOk,
    Limits,
    ProcessAlive,
    RestartMode,
    TcpPort,
    Unit,
    XWindow,
    spec_hash,
)
from streamsd.core.units import Resolution
from streamsd.drivers.pulse.render import device
from streamsd.drivers.x11 import XDisplay
from streamsd.engine.context import HostContext
from streamsd.kinds.app import kind as app_kind
from streamsd.kinds.app.kind import KIND
from streamsd.kinds.app.spec import AppSpec
from streamsd.testing.kinds import said_against

DISPLAY = XDisplay(":7", Path("/run/d/Xauthority"), Resolution(8, 8), Resolution(8, 8), Secret("ab" * 16))


@pytest.fixture
def context(tmp_path: Path) -> HostContext:
    made = HostContext(Settings(tmp_path / "p", tmp_path / "s", tmp_path / "r", tmp_path / "c"), {})
    made.export(Address("Display", "desk"), DISPLAY)
    made.export(Address("Audio", "music"), device(Path("/run/a"), "music", rate=48000, channels=2))
    return made


def resource(base: Path = Path("/"), **fields: Any) -> Resource[AppSpec]:
    return Resource(Address("App", "x"), AppSpec.model_validate({"command": [sys.executable], **fields}), base=base)


def unit(context: HostContext, **fields: Any) -> Unit:
    found = resource(**fields)
    assert not list(said_against(KIND, found, context))
    return KIND.compile(found, context).unit("main")


def problems(context: HostContext, **fields: Any) -> list[tuple[str, tuple[str | int, ...]]]:
    return [(problem.code, problem.path) for problem in said_against(KIND, resource(**fields), context)]


def test_display_and_sound_come_by_environment(context: HostContext) -> None:
    found = unit(context, display="desk", audio="music", env={"A": 1, "B": "two"})
    assert found.env == {
        "DISPLAY": ":7",
        "XAUTHORITY": "/run/d/Xauthority",
        "PULSE_SERVER": "unix:/run/a/native",
        "PULSE_SINK": "music",
        "PULSE_SOURCE": "music.monitor",
        "PULSE_COOKIE": "/run/a/pulse-cookie",
        "A": "1",
        "B": "two",
    }
    assert not found.files
    assert [str(r.target) for r in references_of(resource(display="desk", audio="music").spec)] == [
        "Display/desk",
        "Audio/music",
    ]


def test_another_user_gets_a_cookie_file_of_its_own(context: HostContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_kind, "_is_other", lambda user: user == "somebody")
    found = KIND.compile(resource(display="desk", user="somebody"), context).unit("main")
    directory = context.directory(Address("App", "x"))
    assert found.env["XAUTHORITY"] == str(directory / "Xauthority")
    assert [file.path for file in found.files] == [directory / "Xauthority"]
    assert directory in found.directories
    assert bytes.fromhex("ab" * 16) in found.files[0].data()


def test_secrets_stay_secret(context: HostContext) -> None:
    found = unit(context, env={"KEY": Secret("hunter2")})
    assert found.env["KEY"] == Secret("hunter2")
    assert "hunter2" not in repr(found)


def test_policies_are_carried_and_cost_no_restart(context: HostContext) -> None:
    found = unit(
        context,
        restart="on_failure",
        stop={"signal": "INT", "grace": "3s"},
        limits={"memory": "256M", "cpu": 50, "nice": 5},
        ready={"after": "2s", "within": "1m"},
        description="x",
    )
    assert found.restart.mode is RestartMode.ON_FAILURE
    assert found.stop.steps == ((signal.SIGINT, 3.0),)
    assert found.limits == Limits(memory_bytes=256 << 20, cpu_percent=50, nice=5)
    assert found.probes.within == 60.0
    assert spec_hash(found, b"k") == spec_hash(unit(context), b"k")
    for fields in ({"command": [sys.executable, "x"]}, {"env": {"A": "1"}}, {"limits": {"open_files": 64}}):
        assert spec_hash(unit(context, **fields), b"k") != spec_hash(found, b"k")


@pytest.mark.parametrize(
    ("ready", "check"),
    [
        ({"window": {"class": "XClock"}}, XWindow(":7", DISPLAY.authority, None, "XClock")),
        ({"window": {"title": "Mail"}}, XWindow(":7", DISPLAY.authority, "Mail", None)),
        ({"tcp": 80}, TcpPort("127.0.0.1", 80)),
        ({"http": "http://127.0.0.1:80/x"}, HttpOk("http://127.0.0.1:80/x")),
        ({"file": "out/x"}, FileExists(Path("/out/x"))),
        ({"command": [sys.executable, "-c", ""]}, CommandOk((sys.executable, "-c", ""))),
        ({"after": "2s"}, ProcessAlive(2.0)),
    ],
)
def test_ready_is_a_probe(context: HostContext, ready: dict[str, Any], check: Check) -> None:
    assert unit(context, display="desk", ready=ready).probes.startup.check == check


def test_programs_are_found_or_told(context: HostContext, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.touch(mode=0o700)
    found = KIND.compile(resource(tmp_path, command=["./run.sh", "a"]), context).unit("main")
    assert found.argv == (str(script), "a")
    script.chmod(0o600)

    def told(**fields: Any) -> Problem:
        (problem,) = said_against(KIND, resource(tmp_path, **fields), context)
        return problem

    assert told(command=["./run.sh"]).code == "program-missing"
    assert told(command=["./" + "x" * 300]).code == "program-missing"
    assert told(command=["/bin/true"], cwd="x" * 300).code == "directory-missing"
    context._programs["xclock"] = None
    assert told(command=["xclock"]).hint == "apt install x11-apps"
    assert told(command=["xclock"]).path == ("command", 0)
    assert told(command=[""]).code == "program-missing"
    assert told(ready={"command": ["xclock"]}).path == ("ready", "command", 0)


def test_what_does_not_fit_is_told_where_it_stands(context: HostContext) -> None:
    assert problems(context, ready={"window": {}}) == [("display-needed", ("ready", "window"))]
    assert problems(context, display="desk", env={"DISPLAY": ":1"}) == [("env-conflict", ("env", "DISPLAY"))]
    assert problems(context, env={"DISPLAY": ":1"}) == []
    assert problems(context, env={"STREAMSD_UNIT": "x"}) == [("env-reserved", ("env", "STREAMSD_UNIT"))]
    assert problems(context, cwd="no/such/place") == [("directory-missing", ("cwd",))]
    assert problems(context, user="no-such-user-here") == [("user-unknown", ("user",))]


GOOD: list[dict[str, Any]] = [
    {"command": ["x"]},
    {"command": ["x", ""], "env": {"A": 1, "_b": "x"}, "restart": "never"},
    {"command": ["x"], "ready": {"window": {}}, "limits": {"memory": 1024}},
    {"command": ["x"], "ready": {"after": 0.5, "within": "1m"}},
]
BAD: list[dict[str, Any]] = [
    {},
    {"command": "x -y"},
    {"command": []},
    {"command": ["x"], "env": {"1A": "x"}},
    {"command": ["x"], "env": {"A": True}},
    {"command": ["x"], "env": {"A": 1.5}},
    {"command": ["x"], "ready": {}},
    {"command": ["x"], "ready": {"within": "1s"}},
    {"command": ["x"], "ready": {"tcp": 1, "after": 1}},
    {"command": ["x"], "ready": {"tcp": 0}},
    {"command": ["x"], "ready": {"http": "localhost"}},
    {"command": ["x"], "restart": "on-failure"},
    {"command": ["x"], "limits": {"cpu": 0}},
    {"command": ["x"], "stop": {"signal": "SIGTERM"}},
    {"command": ["x"], "shell": True},
]


@pytest.mark.parametrize("fields", GOOD)
def test_model_and_schema_accept(fields: dict[str, Any]) -> None:
    AppSpec.model_validate(fields)
    Draft202012Validator(AppSpec.model_json_schema()).validate(fields)


@pytest.mark.parametrize("fields", BAD)
def test_model_and_schema_refuse(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AppSpec.model_validate(fields)
    assert not Draft202012Validator(AppSpec.model_json_schema()).is_valid(fields)
