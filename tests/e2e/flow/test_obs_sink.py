"""The example of a caption: MQTT to a picture, by the real daemon, broker and OBS."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from streamsd.cli.client import Client
from streamsd.cli.failure import Failure
from tests.contract.obs_rig import free_port
from tests.e2e.flow import brokers
from tests.e2e.host import Host
from tests.programs_needed import need, need_module

EXAMPLE = Path(__file__).parents[3] / "examples/flows/caption.yaml"


def _ask(host: Host, operation: str, **arguments: Any) -> dict[str, Any]:
    return Client(host.settings).post(f"/v1/resources/Obs/studio/operations/{operation}", arguments)


def _resource(host: Host, address: str) -> dict[str, Any]:
    resources = Client(host.settings).get("/v1/status")["resources"]
    return next(r for r in resources if r["address"] == address)  # type: ignore[no-any-return]


def _text(host: Host) -> str:
    """What OBS holds; nothing while no director can be asked. Not asked all the time: reading is work for OBS."""
    time.sleep(0.3)
    with contextlib.suppress(Failure):
        return str(_ask(host, "read")["studio"]["inputs"]["score"]["settings"]["text"])
    return ""


def _picture(host: Host) -> str:
    return str(_ask(host, "screenshot", source="score")["image"])


def _pid(host: Host, address: str, role: str) -> int:
    return next(int(p["pid"]) for p in _resource(host, address)["processes"] if p["role"] == role)


def test_a_caption_is_drawn_from_mqtt(host: Host, tmp_path: Path) -> None:
    need("obs")
    need("Xvfb")
    need_module("paho.mqtt")
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    with brokers.mosquitto(tmp_path) as broker:
        text = EXAMPLE.read_text().replace("mqtt: {topics", f"mqtt: {{port: {broker.port}, topics")
        host.write(text.replace("fps: 15", f"fps: 15\n    websocket: {{port: {free_port()}}}"))
        host.up()
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        try:
            host.until(lambda: _resource(host, "Obs/studio")["ready"], "OBS is ready")
            host.until(
                lambda: _resource(host, "Flow/caption")["observed"].get("sources", {}).get("in", {}).get("connected"),
                "the flow is connected",
            )
            assert _text(host) == "Soon"
            before = _picture(host)
            result = {"home": "Reds", "away": "Blues", "home_goals": 0, "away_goals": 1}
            for minute in range(1, 501):
                client.publish("match/score", json.dumps({**result, "minute": minute}), 0)
            host.until(lambda: _text(host) == "Reds 0 : 1 Blues  500'", "the newest result is drawn")
            host.until(lambda: _picture(host) != before, "the picture shows it")

            def figures() -> dict[str, Any]:
                told = _resource(host, "Flow/caption")["observed"]["sinks"]["out"]
                return told if told["drawn"] + told["passed_over"] == 500 else {}

            sink = host.until(figures, "all are drawn or passed over")
            assert sink["results"] == 500

            # Neither a director nor an OBS that ends takes it away, nor does the daemon's end hold it up.
            os.kill(_pid(host, "Obs/studio", "director"), signal.SIGKILL)
            host.until(lambda: _text(host) == "Reds 0 : 1 Blues  500'", "the new director is told what is shown")
            assert "Flow/caption" not in {r["address"] for r in _overridden(host)}
        finally:
            client.disconnect()
            client.loop_stop()


def _overridden(host: Host) -> list[dict[str, Any]]:
    resources = Client(host.settings).get("/v1/status")["resources"]
    return [r for r in resources for c in r["conditions"] if c["type"] == "Overridden" and c["status"] == "True"]
