"""streamsd's own figures and events as sources of flows, under the real daemon, with a real stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.host import Host
from tests.programs_needed import need_module

PROFILE = """
    version: 1
    streams:
      bars:
        video: {source: {test: {pattern: testsrc2, resolution: 320x240}}, fps: 15, bitrate: 300k, preset: ultrafast}
    flows:
      figures:
        source: {streamsd: {only: ["Stream/*", Flow/broken], every: 200ms}}
        schema: {at: time, name: str, ready: bool, reason: str, observed: {fps: float?, bitrate_kbps: float?}}
        steps:
          - window:
              tumbling: 1s
              key: name
              time: at
              emit:
                fps: mean(coalesce(observed.fps, 0.0))
                kbps: max(coalesce(observed.bitrate_kbps, 0.0))
                ready: last(1 if ready else 0)
                reason: last(reason)
        sinks:
          all: {file: {path: figures.ndjson}}
          alerts: {http: {url: "http://127.0.0.1:PORT/", batch: 1}, when: reason != '' and name == 'broken'}
        recovery: {epoch: 200ms}
      broken:
        source: {mqtt: {port: 1, topics: [x]}}
        sink: {discard: {}}
        recovery: {epoch: 200ms}
      happens:
        source: {streamsd: {read: events, only: [Stream/bars], start: earliest}}
        sink: {file: {path: events.ndjson}}
        recovery: {epoch: 200ms}
"""


@pytest.fixture
def webhook() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A server that takes POST, and what it got."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, taken
    server.shutdown()
    server.server_close()


def rows(host: Host, name: str) -> list[dict[str, Any]]:
    path = host.directory / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_stream_s_figures_and_events_are_messages(webhook: tuple[int, list[dict[str, Any]]], host: Host) -> None:
    need_module("av")
    port, alerts = webhook
    host.write(PROFILE.replace("PORT", str(port)))
    host.up()
    host.converged(1)
    host.until(
        lambda: any(row["fps"] > 10 and row["kbps"] > 50 and row["ready"] == 1 for row in rows(host, "figures.ndjson")),
        "windows with frames and a bit rate",
    )
    accepted = host.until(lambda: [row for row in rows(host, "events.ndjson") if row["event"]], "events")
    assert {row["address"] for row in accepted} == {"Stream/bars"}

    # What is wrong with a resource is told by webhook, with the reason that streamsd gives.
    host.until(lambda: any(alert["reason"] == "SourceUnreachable" for alert in alerts), "an alert")
    assert {alert["name"] for alert in alerts} == {"broken"}

    # The daemon may go: the flow says that it asks in vain, and goes on when one is there.
    flow = host.pid("Flow/figures/runner")
    host.kill()
    before = len(rows(host, "figures.ndjson"))
    host.up()
    host.until(lambda: len(rows(host, "figures.ndjson")) > before + 2, "windows after the daemon's restart")
    assert host.pid("Flow/figures/runner") == flow
    # Each event once, in order, also those of meanwhile.
    host.until(lambda: rows(host, "events.ndjson")[-1]["seq"] > accepted[-1]["seq"], "events of meanwhile")
    numbers = [row["seq"] for row in rows(host, "events.ndjson")]
    assert numbers == sorted(set(numbers))
