"""Every command that asks a daemon, against a stand-in's real socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamsd.core.answers import ActionAnswer, DiagnosticAnswer
from streamsd.core.service import Refused
from streamsd.core.settings import Settings
from tests.unit.api.fake_service import FakeService, empty_plan, resource, status_of
from tests.unit.cli.conftest import Command

ACTION: ActionAnswer = {
    "action": "restart",
    "address": "Stream/desktop",
    "cause": "video.bitrate 2M -> 4M",
    "fields": ["video.bitrate"],
    "interrupts": ["Stream/desktop"],
    "processes": ["encoder"],
}
DIAGNOSTIC: DiagnosticAnswer = {
    "code": "unknown-field",
    "severity": "error",
    "message": "there is no field 'fsp'",
    "hint": "did you mean 'fps'?",
    "file": "/nowhere/p.yaml",
    "line": 4,
    "column": 7,
    "end_line": 4,
    "end_column": 10,
    "path": "streams.desktop.video.fsp",
}


def with_progress(address: str, *, progressing: bool, reason: str) -> dict[str, object]:
    lost = resource(address, ready=False, reason=reason, message="exit code 1")
    condition = dict(lost["conditions"][0], type="Progressing", status="True" if progressing else "False")
    return {**lost, "conditions": [*lost["conditions"], condition]}


def test_status_shows_the_table_and_json_the_answer_itself(streamsd: Command, service: FakeService) -> None:
    said = streamsd("status")
    assert said.code == 0
    assert "Stream/desktop  yes    1/1" in said.out
    assert "fps=30 resolution=1280x720" in said.out
    assert "2 of 2 ready, generation 3 converged" in said.out
    assert json.loads(streamsd("status", "--json").out) == service.statuses[0]
    assert json.loads(streamsd("--json", "status").out) == service.statuses[0]


def test_status_says_what_is_wrong(streamsd: Command, service: FakeService) -> None:
    status = status_of(resource("Stream/desktop", ready=False, reason="CrashLoop", message="encoder\x1b[2J exits 1"))
    service.statuses = [{**status, "converged": False, "problems": [DIAGNOSTIC]}]
    out = streamsd("status").out
    assert "no: CrashLoop" in out
    assert "Stream/desktop  not ready: CrashLoop: encoder�[2J exits 1" in out
    assert "refused  /nowhere/p.yaml:4:7: there is no field 'fsp' [unknown-field]" in out
    assert "0 of 1 ready, generation 3 not converged" in out


def test_plan_exits_0_2_and_1(streamsd: Command, service: FakeService, tmp_path: Path) -> None:
    said = streamsd("plan")
    assert (said.code, said.out) == (0, "Nothing to do: what runs is what the profile says.\n")
    service.plan_answer = {**empty_plan(), "waits": [{"address": "App/clock", "why": "main is starting"}]}
    said = streamsd("plan")
    assert (said.code, said.out) == (
        2,
        "... App/clock  wait  main is starting\n\nPlan: nothing to do now, 1 to wait for.\n",
    )
    service.plan_answer = {**empty_plan(), "changes": 1, "actions": [ACTION]}
    said = streamsd("plan", "--out", str(tmp_path / "saved"))
    assert said.code == 2
    assert "  ! Stream/desktop  restart  video.bitrate 2M -> 4M" in said.out
    assert "Plan: 1 to restart." in said.out
    assert json.loads((tmp_path / "saved").read_text()) == service.plan_answer
    service.refuses = Refused(422, {"error": "invalid-profile", "message": "1 error", "diagnostics": [DIAGNOSTIC]})
    said = streamsd("plan")
    assert said.code == 1
    assert "there is no field 'fsp'" in said.err
    assert "error: 1 error" in said.err
    said = streamsd("plan", "--json")
    assert (said.code, json.loads(said.out)["diagnostics"]) == (1, [DIAGNOSTIC])


def test_what_others_said_of_themselves_does_not_steer_the_terminal(streamsd: Command, service: FakeService) -> None:
    service.refuses = Refused(
        409, {"error": "conflict", "message": "\x1b]0;ann\x07 is applying", "hint": "wait\x1b[2J"}
    )
    said = streamsd("apply")
    assert said.code == 1
    assert "\x1b" not in said.err
    assert "]0;ann\N{REPLACEMENT CHARACTER} is applying" in said.err


def test_apply_tells_what_is_ready_and_not_whole(streamsd: Command, service: FakeService) -> None:
    whole = resource("Flow/rooms")
    degraded = dict(whole["conditions"][0], type="Degraded", status="True", reason="SourceUnreachable", message="in: x")
    service.statuses = [status_of({**whole, "conditions": [*whole["conditions"], degraded]})]  # type: ignore[list-item]
    said = streamsd("apply")
    assert said.code == 0
    assert said.out.endswith("Converged: 1 of 1 ready.\n  Flow/rooms  degraded: SourceUnreachable: in: x\n")


def test_apply_waits_until_converged(streamsd: Command, service: FakeService) -> None:
    service.plan_answer = {**empty_plan(), "changes": 1, "actions": [ACTION]}
    starting = status_of(
        with_progress("Stream/desktop", progressing=True, reason="Starting"),  # type: ignore[arg-type]
        converged=False,
    )
    service.statuses = [starting, status_of(resource("Stream/desktop"))]
    said = streamsd("apply", "--allow-interrupt")
    assert said.code == 0
    assert said.out.endswith("Converged: 1 of 1 ready.\n")
    assert said.err == "  Stream/desktop  Starting\n  Stream/desktop  ready\n"
    request = service.asked[0][1]
    assert request["allow_interrupt"] is True
    assert "streamsd apply" in request["holder"]


def test_apply_fails_when_a_resource_gave_up(streamsd: Command, service: FakeService) -> None:
    lost = with_progress("Stream/desktop", progressing=False, reason="CrashLoop")
    service.statuses = [status_of(lost, converged=False)]  # type: ignore[arg-type]
    said = streamsd("apply")
    assert said.code == 1
    assert "Failed:\n  Stream/desktop  CrashLoop: exit code 1" in said.err
    said = streamsd("apply", "--json")
    assert (said.code, json.loads(said.out)["result"]) == (1, "failed")


def test_apply_says_when_it_was_rolled_back(streamsd: Command, service: FakeService) -> None:
    service.rolled_back = "Stream/desktop: CrashLoop"
    said = streamsd("apply", "--rollback-on-failure")
    assert said.code == 1
    assert said.err.startswith("error: it was rolled back: Stream/desktop: CrashLoop\nhint: ")


def test_apply_says_when_another_generation_came(streamsd: Command, service: FakeService) -> None:
    service.statuses = [status_of(resource("Stream/desktop"), generation=4)]
    said = streamsd("apply")
    assert (said.code, said.err) == (1, "Failed: generation 3 was left again; now it is 4.\n")


def test_apply_times_out_with_3(streamsd: Command, service: FakeService) -> None:
    waiting = with_progress("Stream/desktop", progressing=True, reason="Starting")
    service.statuses = [status_of(waiting, converged=False)]  # type: ignore[arg-type]
    said = streamsd("apply", "--wait", "0")
    assert said.code == 3
    assert "Not done after 0 s (0 of 1 ready); it goes on:\n  Stream/desktop  Starting" in said.err
    assert streamsd("apply", "--no-wait").code == 0


def test_apply_hands_over_a_saved_plan_and_refuses_what_is_none(
    streamsd: Command, service: FakeService, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    saved.write_text(json.dumps(empty_plan()))
    assert streamsd("apply", str(saved)).code == 0
    assert service.asked[0][1]["plan"] == empty_plan()
    saved.write_text("{]")
    said = streamsd("apply", str(saved))
    assert (said.code, said.err.splitlines()[0]) == (1, f"error: {saved} is not a saved plan")
    said = streamsd("apply", str(tmp_path / "none"))
    assert (said.code, said.err) == (1, f"error: {tmp_path / 'none'}: No such file or directory\n")


def test_a_conflict_names_the_holder(streamsd: Command, service: FakeService) -> None:
    service.refuses = Refused(409, {"error": "conflict", "message": "ann applies now", "hint": "wait for her"})
    said = streamsd("apply")
    assert (said.code, said.err) == (1, "error: ann applies now\nhint: wait for her\n")
    said = streamsd("apply", "--json")
    assert json.loads(said.out) == {"error": "conflict", "message": "ann applies now", "hint": "wait for her"}


def test_logs_mark_each_line_with_its_role(streamsd: Command, service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntwo\x1b]0;title\x07\n")
    service.logs = [("encoder", tmp_path / "log")]
    assert streamsd("logs", "Stream/desktop", "-n", "1").out == "encoder  two�]0;title�\n"
    assert json.loads(streamsd("logs", "Stream/desktop", "-n", "1", "--json").out)["role"] == "encoder"
    assert streamsd("logs", "Stream/desktop", "--role", "none").out == ""


def test_events_are_lines(streamsd: Command, service: FakeService) -> None:
    service.past = [
        (n, {"at": "2026-01-02T03:04:05.000Z", "event": "process-exited", "address": "App/a", "why": "exit code 1"})
        for n in (1, 2)
    ]
    line = '2026-01-02T03:04:05.000Z  process-exited  App/a  why="exit code 1"\n'
    assert streamsd("events").out == line * 2
    assert streamsd("events", "--last", "1").out == line
    assert [json.loads(text)["seq"] for text in streamsd("events", "--json").out.splitlines()] == [1, 2]


def test_describe_graph_export_restart(streamsd: Command, service: FakeService) -> None:
    assert streamsd("describe", "Display/desk").out == "address: Display/desk\nspec:\n  key: ***\n"
    assert streamsd("graph").out == "Display/desk\n  Stream/desktop\n"
    assert '"Stream/desktop" -> "Display/desk";' in streamsd("graph", "--dot").out
    assert streamsd("export").out.startswith("---\napiVersion: streamsd/v1\nkind: Display\n")
    assert json.loads(streamsd("export", "--json").out)[0]["name"] == "desk"
    assert streamsd("restart", "Stream/desktop", "--role", "encoder").out == "Restarting Stream/desktop/encoder.\n"
    assert service.asked[-1] == ("restart", "Stream/desktop", "encoder")


def test_operate_reads_values_as_json_or_text(streamsd: Command, service: FakeService) -> None:
    said = streamsd("operate", "Obs/studio", "switch", "scene=live", "fade=true", "ms=300")
    assert (said.code, said.out) == (0, "scene: live\n")
    assert service.asked[-1] == ("operate", "Obs/studio", "switch", {"scene": "live", "fade": True, "ms": 300})
    assert streamsd("operate", "Obs/studio", "switch", "live").err.startswith("error: 'live' is not KEY=VALUE")


def test_destroy_says_what_depends_and_wants_a_yes(streamsd: Command, service: FakeService) -> None:
    said = streamsd("destroy", "Display/desk")
    assert said.code == 1
    assert said.err == "error: this would stop Display/desk, Stream/desktop\nhint: say --yes to do it\n"
    assert ("destroy", ["Display/desk"]) not in service.asked
    assert streamsd("destroy", "Display/desk", "--yes").code == 0
    assert service.asked[-1] == ("destroy", ["Display/desk"])


def test_down_waits_for_the_end_and_may_be_said_twice(streamsd: Command, service: FakeService) -> None:
    assert streamsd("down").out == "Everything is stopped.\n"
    assert streamsd("down").out == "Nothing to stop: no daemon runs.\n"


def test_shells_complete_commands_and_addresses(
    streamsd: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_STREAMSD_COMPLETE" in streamsd("completion", shell).out

    def completed(words: str) -> list[str]:
        monkeypatch.setenv("_STREAMSD_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        with pytest.raises(SystemExit):
            streamsd()
        return [line.partition(",")[2] for line in capsys.readouterr().out.split()]

    assert completed("streamsd de") == ["describe", "destroy"]
    assert completed("streamsd describe Str") == ["Stream/desktop"]


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["status"], "no daemon answers at ", "start one with `streamsd up`"),
        (["describe", "desk"], "not an address: 'desk'", "`streamsd status` lists"),
        (["statsu"], "there is no command 'statsu'", "did you mean `streamsd status`?"),
        (["status", "--colour"], "No such option", "`streamsd status --help` shows"),
        (["apply", "--wait", "soon"], "Invalid value for '--wait'", "`streamsd apply --help`"),
        (["up"], "there is no profile at ", "write a first one with `streamsd init`"),
    ],
)
def test_a_mistake_is_an_error_and_a_hint(streamsd: Command, arguments: list[str], error: str, hint: str) -> None:
    said = streamsd(*arguments)
    first, second = said.err.splitlines()
    assert said.code == 1
    assert first.startswith(f"error: {error}")
    assert second.startswith(f"hint: {hint}")
    assert said.out == ""


def test_up_refuses_beside_a_running_daemon(streamsd: Command, service: FakeService, settings: Settings) -> None:
    settings.profile.write_text("version: 1\n")
    said = streamsd("up", "--detach")
    assert (said.code, said.err.splitlines()[0]) == (1, f"error: a daemon runs already with {settings.run_dir}")


def test_an_obs_that_holds_what_no_profile_can_say_is_told_so(streamsd: Command, tmp_path: Path) -> None:
    profile, scenes = tmp_path / "basic/profiles/P", tmp_path / "basic/scenes"
    profile.mkdir(parents=True)
    scenes.mkdir()
    (scenes / "X.json").write_text(json.dumps({"name": "X", "sources": [{"id": "scene", "name": "s"}]}))
    (profile / "basic.ini").write_text("[Video]\nBaseCX=0\nBaseCY=9\nOutputCX=0\nOutputCY=9\n")
    said = streamsd("obs", "import", str(scenes / "X.json"))
    assert (said.code, said.out) == (1, "")
    assert "error: OBS holds what no profile can say: canvas: " in said.err
    assert "hint: set it to something else in OBS" in said.err
