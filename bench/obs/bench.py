"""OBS's figures: `python -m bench.obs.bench`. Real OBS on an Xvfb of its own; JSON on stdout.

Run it on a quiet machine. `start_s`: empty directory to websocket ready. `noop_50x10_s`: a reconcile of 50 scenes x 10
sources that changes nothing. `edit_p95_s`: a document with one changed colour handed over, to the changed pixel in a
screenshot. `drift_p95_s`: something made from outside that OBS tells of, to repaired. `idle_percent`: of a core, for
watching one instance.
"""

from __future__ import annotations

import base64
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from streamsd.programs.director.client import Client
from streamsd.programs.director.model import Owned
from streamsd.programs.director.parse import parse_desired
from tests.contract.obs_documents import VIDEO, color, document, item
from tests.contract.obs_rig import Director, Studio, studio

EDITS = 30
IDLE_S = 15.0


def large() -> dict[str, Any]:
    scenes = [{"name": f"s{n}", "items": [item(f"s{n}-{i}", x=float(i)) for i in range(10)]} for n in range(50)]
    inputs = {i["source"]: color(0xFF0000FF, 20, 20) for s in scenes for i in s["items"]}
    return document(scenes=scenes, inputs=inputs, program="s0", video=VIDEO)


def small(shade: int) -> dict[str, Any]:
    return document(
        scenes=[{"name": "main", "items": [item("back")]}],
        inputs={"back": color(0xFF000000 | shade, 640, 360)},
        program="main",
        video=VIDEO,
    )


def first_pixel(client: Client) -> tuple[int, ...]:
    shot = client.call("GetSourceScreenshot", {"sourceName": "main", "imageFormat": "ppm", "imageWidth": 64})
    return tuple(base64.b64decode(str(shot["imageData"]).partition(",")[2])[-3:])


def edits(made: Studio, director: Director) -> list[float]:
    client = made.connect()
    times = []
    for n in range(EDITS):
        shade = 40 + 5 * n
        began = time.monotonic()
        director.write(small(shade))
        director.ask(do="desired")
        while abs(first_pixel(client)[0] - shade) > 1:
            assert time.monotonic() - began < 30, first_pixel(client)
        times.append(time.monotonic() - began)
    client.close()
    return times


def drifts(made: Studio) -> list[float]:
    client = made.connect()
    times = []
    for n in range(EDITS):
        client.call("CreateScene", {"sceneName": f"guest{n}"})
        began = time.monotonic()
        while len(client.call("GetSceneList")["scenes"]) > 1:  # type: ignore[arg-type]
            assert time.monotonic() - began < 30
            time.sleep(0.005)
        times.append(time.monotonic() - began)
    client.close()
    return times


def p95(times: list[float]) -> float:
    return round(statistics.quantiles(times, n=20)[-1], 4)


def main() -> None:
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        with studio(Path(directory) / "obs") as made:
            client = made.connect()
            figures["start_s"] = round(time.monotonic() - began, 3)
            figures["obs"] = client.call("GetVersion")["obsVersion"]
            reconciler = made.reconciler(client)
            desired = parse_desired(large())
            began = time.monotonic()
            outcome = reconciler.converge(desired, Owned(), within=60)
            assert outcome.converged, outcome.refused
            figures["create_50x10_s"] = round(time.monotonic() - began, 3)
            times = []
            for _ in range(5):
                began = time.monotonic()
                again = reconciler.converge(desired, Owned(), within=60)
                times.append(time.monotonic() - began)
                assert again.mutating == 0
            figures["noop_50x10_s"] = round(statistics.median(times), 3)
            client.close()
            director = Director(made, Path(directory), small(0))
            try:
                figures["edit_p95_s"] = p95(edits(made, director))
                figures["drift_p95_s"] = p95(drifts(made))
                before, began = director.cpu_s(), time.monotonic()
                time.sleep(IDLE_S)
                share = (director.cpu_s() - before) / (time.monotonic() - began)
                figures["idle_percent"] = round(100 * share, 2)
            finally:
                director.stop()
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
