"""Operators' commands: what they say at once, what they say when they cannot, and switching collections."""

from __future__ import annotations

from streamsd.cli.client import Client
from streamsd.cli.failure import Failure
from tests.e2e.host import Host
from tests.e2e.obs.instance import Instance

SHOW = """
    version: 1
    obs:
      studio:
        canvas: 640x360
        fps: 10
        encoder: {preset: ultrafast}
        collections: {evening: [main, pause], morning: [dawn]}
        program: main
        record: {path: rec, quality: high}
    scenes:
      main:
        title: Main stage
        items: [{name: back, color: {color: "#336699", size: 640x360}}]
      pause:
        items: [{source: back}]
      dawn:
        items:
          - {name: sun, color: {color: "#ffcc00", size: 64x64}}
          - {name: pair, group: {items: [{name: hill, color: {color: "#00aa00", size: 9x9}}]}}
"""


def _refused(obs: Instance, operation: str, **arguments: object) -> Failure:
    try:
        answer = obs.operate(operation, **arguments)
    except Failure as failure:
        return failure
    raise AssertionError(f"{operation} was not refused: {answer}")


def test_operators_see_at_once_what_they_did_and_why_not(host: Host) -> None:
    obs = Instance(host)
    host.write(SHOW)
    host.up()
    host.until(lambda: obs.observed().get("converged"), "it is as declared")
    host.until(lambda: Client(host.settings).get("/v1/status")["converged"], "all of it")

    # a scene, by its name in the profile: the next status says so
    obs.operate("scene-switch", scene="pause")
    assert obs.observed()["program"] == "pause"
    assert "pause is on air" in obs.condition("Overridden")["message"]
    obs.operate("scene-switch", scene="main")
    assert obs.observed()["program"] == "Main stage"
    assert not obs.is_true("Overridden")

    # an own edit is no drift, and tells of no digests
    host.write(SHOW.replace("#336699", "#996633"))
    causes = [a["cause"] for a in Client(host.settings).get("/v1/plan")["actions"] if a["address"] == "Obs/studio"]
    assert set(causes) <= {"Scene/main changed", "scenes: not as declared"}  # the latter once it is being applied
    host.until(lambda: obs.pixel(9, 9, "Main stage", (640, 360)) == (0x99, 0x66, 0x33), "it is applied")

    # what there is not is told with what was meant
    for operation, arguments, words, hint in (
        ("scene-switch", {"scene": "pausse"}, "no scene 'pausse'", "did you mean 'pause'?"),
        ("collection-switch", {"collection": "mornin"}, "no collection 'mornin'", "did you mean 'morning'?"),
        ("source-hide", {"scene": "main", "source": "bak"}, "no source 'bak'", "did you mean 'back'?"),
        ("source-mute", {"input": "bakc"}, "no source 'bakc'", "did you mean 'back'?"),
        ("screenshot", {"source": "bakc"}, "no source 'bakc'", "did you mean 'back'?"),
        ("screenshot", {"format": "pgn"}, "format 'pgn'", "did you mean 'png'?"),
    ):
        failure = _refused(obs, operation, **arguments)
        assert words in failure.message, failure.message
        assert hint in failure.hint, failure.hint
    shot = host.cli("obs", "screenshot", str(host.directory / "none" / "shot.png"))
    assert (shot.returncode, "there is no directory" in shot.stderr) == (1, True)

    # what cannot be now is a conflict
    failure = _refused(obs, "record-resume")
    assert (failure.code, failure.message) == ("conflict", "NotRecording: nothing is recorded")
    obs.operate("record-start")
    host.until(obs.records, "it records")
    assert _refused(obs, "record-resume").message == "NotPaused: the recording is not paused"
    obs.operate("record-pause")
    assert obs.output("record")["paused"]
    obs.operate("record-resume")
    assert not obs.output("record")["paused"]

    # another collection: not while something is recorded, unless asked for; and back
    failure = _refused(obs, "collection-switch", collection="morning")
    assert (failure.code, "record" in failure.message) == ("conflict", True)
    assert obs.observed()["collection"] == "evening"
    obs.operate("record-stop")
    host.until(lambda: not obs.output("record")["active"], "it records no more")
    pids = host.pids()
    done = host.cli("obs", "collection", "switch", "morning")
    assert done.returncode == 0, done.stderr
    assert (obs.observed()["collection"], obs.observed()["program"]) == ("morning", "dawn")
    assert "collection morning is loaded" in obs.condition("Overridden")["message"]
    assert obs.pixel(5, 5, "sun", (64, 64)) == (0xFF, 0xCC, 0x00)
    assert Client(host.settings).get("/v1/plan")["actions"] == []

    # it is kept as declared, and outlives an edit
    host.edit("#ffcc00", "#00ccff")
    host.until(lambda: obs.pixel(5, 5, "sun", (64, 64)) == (0x00, 0xCC, 0xFF), "the edit is shown")
    assert obs.observed()["collection"] == "morning"
    obs.operate("source-hide", scene="dawn", source="sun")
    assert "sun is hidden in dawn" in obs.condition("Overridden")["message"]
    obs.operate("reset")
    assert (obs.observed()["collection"], obs.observed()["program"]) == ("evening", "Main stage")
    assert not obs.is_true("Overridden")
    assert host.pids() == pids
