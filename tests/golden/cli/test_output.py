"""What people see, held to the files beside: `STREAMSD_UPDATE_GOLDEN=1 pytest tests/golden/cli` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamsd.cli.graph import dot_lines, tree_lines
from streamsd.cli.paint import ago
from streamsd.cli.render import describe_lines, plan_lines, status_lines
from streamsd.core.answers import (
    ActionAnswer,
    ConditionAnswer,
    GraphAnswer,
    PlanAnswer,
    ResourceAnswer,
    StatusAnswer,
    WaitAnswer,
)

HERE = Path(__file__).parent


def golden(name: str, lines: list[str]) -> None:
    path = HERE / f"{name}.txt"
    text = "\n".join(lines) + "\n"
    if os.environ.get("STREAMSD_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def action(kind: str, address: str, cause: str, interrupts: list[str]) -> ActionAnswer:
    return {
        "action": kind,  # type: ignore[typeddict-item]  # one of the five below
        "address": address,
        "cause": cause,
        "fields": [],
        "interrupts": interrupts,
        "processes": [],
    }


def plan(*actions: ActionAnswer) -> PlanAnswer:
    return {
        "revision": "r",
        "generation": 3,
        "changes": len(actions),
        "actions": list(actions),
        "waits": [],
        "diagnostics": [],
    }


def test_plan() -> None:
    golden(
        "plan",
        plan_lines(
            plan(
                action("create", "App/clock", "declared, does not run", []),
                action("patch", "Display/desk", "resolution 1280x720 -> 1920x1080", []),
                action("restart", "Stream/desktop", "video.bitrate 2500k -> 1500k", ["Stream/desktop"]),
                action("replace", "Display/wall", "number 7 -> 8", ["Display/wall", "App/map", "Stream/wall"]),
                action("delete", "Server/web", "no longer declared", []),
            )
        ),
    )


def test_plan_of_nothing() -> None:
    golden("plan-nothing", plan_lines(plan()))


def test_plan_that_waits() -> None:
    waits: list[WaitAnswer] = [
        {"address": "App/clock", "why": "main waits for Display/desk"},
        {"address": "Display/desk", "why": "server is starting"},
    ]
    golden("plan-waits", plan_lines({**plan(), "waits": waits}))
    both = plan(action("restart", "Stream/desktop", "video.bitrate 2500k -> 1500k", ["Stream/desktop"]))
    golden("plan-waits-too", plan_lines({**both, "waits": waits[1:]}))


def condition(kind: str, status: bool, reason: str, message: str = "") -> ConditionAnswer:
    return {
        "type": kind,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message,
        "since": "2126-01-01T00:00:00.000Z",  # not yet: shown as 0s, whatever the day
        "observed_generation": 3,
    }


def resource(address: str, ready: bool, conditions: list[ConditionAnswer], **observed: object) -> ResourceAnswer:
    kind, _, name = address.partition("/")
    return {
        "address": address,
        "kind": kind,
        "name": name,
        "ready": ready,
        "conditions": conditions,
        "processes": [
            {
                "role": "main",
                "pid": 4711 if ready else 0,
                "started": "",
                "restarts": 0 if ready else 7,
                "phase": "running",
            }
        ],
        "observed": observed,
    }


def status(*resources: ResourceAnswer) -> StatusAnswer:
    return {
        "generation": 3,
        "observed_generation": 3,
        "converged": False,
        "resources": list(resources),
        "profile": "/etc/streamsd/profile.yaml",
        "revision": "r",
        "problems": [],
        "version": "0",
        "daemon_pid": 1,
    }


def test_status() -> None:
    answer = status(
        resource("Display/desk", True, [condition("Ready", True, "Serving")], display=":7", resolution="1280x720"),
        resource(
            "Stream/desktop",
            True,
            [
                condition("Ready", True, "Serving"),
                condition("Degraded", True, "DiskFull", "archive: no space is left on the device"),
            ],
            fps=29.97,
            nested={"not": "shown"},
        ),
        resource(
            "App/broken",
            False,
            [
                condition("Ready", False, "Exited", "main exited with 1"),
                condition("Progressing", False, "CrashLoop", "main exited with 1, 7 times"),
                condition("Degraded", True, "Exited", "main exited with 1"),
            ],
        ),
        resource("App/late", False, [condition("Ready", False, "Starting", "main is starting")]),
        resource(
            "App/odd", True, [condition("Ready", True, "Serving"), condition("Drifted", True, "Differs", "nice 5")]
        ),
    )
    answer["problems"] = [
        {
            "code": "field-unknown",
            "severity": "error",
            "message": "unknown field 'fsp'",
            "hint": "did you mean 'fps'?",
            "file": "/etc/streamsd/profile.yaml",
            "line": 4,
            "column": 7,
            "end_line": 4,
            "end_column": 10,
            "path": "streams.desktop.video.fsp",
        }
    ]
    golden("status", status_lines(answer))


def test_a_warning_refuses_nothing() -> None:
    answer = status(resource("App/clock", True, [condition("Ready", True, "Serving")]))
    answer["problems"] = [
        {
            "code": "secret-inline",
            "severity": "warning",
            "message": "the secret key stands in the profile itself",
            "hint": "put it in a file of mode 600 and write ${secret:file:PATH}",
            "file": "/etc/streamsd/profile.yaml",
            "line": 4,
            "column": 7,
            "end_line": 4,
            "end_column": 10,
            "path": "obs.studio.stream.key",
        }
    ]
    said = "\n".join(status_lines(answer))
    assert "warning  /etc/streamsd/profile.yaml:4:7: the secret key" in said
    assert "refused" not in said


def test_status_of_a_first_profile_that_was_refused() -> None:
    answer = status()
    answer["generation"] = answer["observed_generation"] = 0
    answer["problems"] = [
        {
            "code": "tcp-port-taken",
            "severity": "error",
            "message": "another program listens on 127.0.0.1:8088",
            "hint": "free it, or choose another",
            "file": "/etc/streamsd/profile.yaml",
            "line": 6,
            "column": 17,
            "end_line": 6,
            "end_column": 31,
            "path": "servers.web.listen",
        }
    ]
    golden("status-refused", status_lines(answer))


def test_status_of_nothing() -> None:
    golden("status-nothing", status_lines(status()))


GRAPH: GraphAnswer = {
    "resources": ["App/clock", "Display/desk", "Server/web", "Stream/desktop", "Stream/small"],
    "edges": [
        ("App/clock", "Display/desk"),
        ("Stream/desktop", "Display/desk"),
        ("Stream/desktop", "Server/web"),
        ("Stream/small", "Stream/desktop"),
    ],
}


def test_graph() -> None:
    golden("graph", tree_lines(GRAPH))
    golden("graph-dot", dot_lines(GRAPH))


def test_describe() -> None:
    described = {
        "address": "App/clock",
        "spec": {"command": ["xclock", "-update", "1"], "limits": {"memory": None, "cpu": 50}, "env": {}},
        "processes": [{"role": "main", "pid": 4711}, {"role": "other", "pid": 0}],
        "escapes": "a title\x1b]0;gone\x07",
    }
    golden("describe", describe_lines(described))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (86400 * 5, "5d")]
)
def test_ago(seconds: int, said: str) -> None:
    from datetime import UTC, datetime, timedelta

    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert ago(moment.isoformat().replace("+00:00", "Z"), moment + timedelta(seconds=seconds)) == said
    assert ago("", moment) == ""
