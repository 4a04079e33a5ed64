"""An OBS that somebody else started: kept as declared, told apart when it refuses, and left running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract.obs_rig import studio
from tests.e2e.host import Host, alive
from tests.e2e.obs.instance import Instance

PROFILE = """
    version: 1
    obs:
      studio:
        external: {host: 127.0.0.1, port: PORT, password: PASSWORD}
        canvas: 640x360
        fps: 10
        scenes: [main]
        program: main
    scenes:
      main:
        items:
          - {name: back, color: {color: "#336699", size: 640x360}}
"""

WRONG = "falsch-4711"


def test_an_obs_of_somebody_elses_is_kept_and_left_running(host: Host, tmp_path: Path) -> None:
    with studio(tmp_path / "obs") as other:
        client = other.connect()
        client.call("CreateScene", {"sceneName": "theirs"})
        obs = Instance(host)

        # a wrong password is told as such
        host.write(PROFILE.replace("PORT", str(other.port)).replace("PASSWORD", WRONG))
        host.up()
        host.until(lambda: obs.condition("Ready")["reason"] == "WrongPassword", "the wrong password is told")
        assert WRONG not in host.log() + host.cli("describe", "Obs/studio").stdout
        assert not any(s["sceneName"] == "main" for s in _scenes(client))

        # the right one: it is as declared, and what is theirs stays
        host.edit(WRONG, other.password)
        host.until(lambda: obs.observed().get("converged") and obs.is_true("Ready"), "it is as declared")
        assert {s["sceneName"] for s in _scenes(client)} >= {"main", "theirs"}
        assert client.call("GetCurrentProgramScene")["currentProgramSceneName"] == "main"
        assert obs.pixel(20, 20, "main", (640, 360)) == (0x33, 0x66, 0x99)
        client.call("SetInputSettings", {"inputName": "back", "inputSettings": {"color": 0xFF000001}})
        host.until(lambda: _color(client) == 0xFF996633, "what somebody changed is set right")

        # what only this OBS can know is told with its reason, and does not hold up the rest
        host.edit("- {name: back", "- {name: web, input: {kind: my_web_source, plugin: true}}\n      - {name: back")
        host.edit("#336699", "#112233")
        host.until(lambda: obs.condition("Degraded")["reason"] == "UnknownInputKind", "the unknown kind is told")
        assert "my_web_source" in obs.condition("Degraded")["message"]
        host.until(lambda: _color(client) == 0xFF332211, "the rest is done")

        # it is left as it is
        assert host.cli("down").returncode == 0
        assert alive(other.obs_pid)
        assert {s["sceneName"] for s in _scenes(client)} >= {"main", "theirs"}
        client.close()


def _scenes(client: Any) -> list[dict[str, Any]]:
    return client.call("GetSceneList")["scenes"]  # type: ignore[no-any-return]


def _color(client: Any) -> int:
    return int(client.call("GetInputSettings", {"inputName": "back"})["inputSettings"]["color"])
