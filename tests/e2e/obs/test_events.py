"""What happens in OBS is in the daemon's event log: once, in few lines, also what happened while no daemon ran."""

from __future__ import annotations

import json
from typing import Any

from streamsd.cli.client import Client as ApiClient
from streamsd.programs.director.client import Client
from tests.contract.obs_rig import free_port
from tests.e2e.host import Host

PROFILE = """
    version: 1
    obs:
      studio:
        canvas: 320x180
        fps: 10
        websocket: {{port: {port}, password: geheim-4711}}
        scenes: [main, pause]
        record: {{state: "off", path: rec}}
        replay_buffer: {{state: "on", length: 5s}}
        encoder: {{preset: ultrafast}}
    scenes:
      main: {{items: [{{name: back, color: {{color: "#336699", size: 320x180}}}}]}}
      pause: {{items: [{{source: back}}]}}
"""


def test_obs_events_are_told_once_and_in_few_lines(host: Host) -> None:
    port = free_port()
    host.write(PROFILE.format(port=port))
    host.up()
    host.converged(1)
    client = Client.connect("127.0.0.1", port, "geheim-4711")
    try:
        client.call("SetCurrentProgramScene", {"sceneName": "pause"})
        host.until(lambda: events(host, "obs-scene-on-air", scene="pause"), "the switch is told")
        assert events(host, "obs-connected")[0]["obs_version"]
        assert events(host, "obs-brought-to-what-is-declared")
        for _ in range(100):
            for scene in ("main", "pause"):
                client.call("SetCurrentProgramScene", {"sceneName": scene})
        client.call("StartRecord")
        host.until(lambda: events(host, "obs-record-started"), "the recording is told")
        stopped = host.until(lambda: events(host, "obs-record-stopped"), "and its end, for it is declared to be off")
        assert stopped[0]["path"].startswith(str(host.directory / "rec"))
        assert len(events(host, "obs-scene-on-air")) < 50

        saved = host.until(lambda: replay(host), "the last seconds are saved")
        assert saved.startswith(str(host.directory / "rec" / "Replay"))
        host.until(lambda: events(host, "obs-replay-saved", path=saved), "that is told too")

        # what happens while no daemon runs is told by the next one, and nothing twice
        before = events(host)
        host.kill()
        client.call("CreateScene", {"sceneName": "somebody's"})
        host.up()
        host.until(lambda: events(host, "obs-scene-created", scene="somebody's"), "it is told later")
        host.until(lambda: events(host, "obs-scene-removed"), "so is that it was removed: it is not declared")
    finally:
        client.close()
    told = [event["happening"] for event in events(host)]
    assert told == sorted(set(told))
    assert told[: len(before)] == [event["happening"] for event in before]
    assert "geheim-4711" not in json.dumps(host.events())


def replay(host: Host) -> str:
    """The file that the last seconds were saved to; empty when they could not be."""
    return host.cli("obs", "replay", "save").stdout.strip()


def events(host: Host, name: str = "", **fields: object) -> list[dict[str, Any]]:
    """Those that OBS told of."""
    told = ApiClient(host.settings).lines("/v1/events", {"address": "Obs/studio"})
    found = [e for e in told if "happening" in e and name in ("", e["event"])]
    return [e for e in found if all(e.get(key) == value for key, value in fields.items())]
