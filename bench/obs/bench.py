"""OBS's figures, through the real daemon, with real OBS on displays of its own.

    python -m bench.obs.bench [--starts 5] [--edits 30] [--seconds 20] [--json FILE]

What is changed from outside is changed over a websocket connection of the benchmark's own, and pictures are asked for
over it as quickly as OBS gives them.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, median, p95, report
from streamsd.cli.client import Client as Daemon
from streamsd.programs.director.client import Client, ConnectFault
from tests.contract.obs_rig import free_port, studio
from tests.e2e.host import Host, alive, host
from tests.e2e.obs.instance import Instance

PASSWORD = "benchmark"
EMPTY = "version: 1\n"
GREY, RED = "#333333", "#ff0000"
PLACES = (0, 320)


def small(name: str, port: int) -> str:
    """A lamp before a wall."""
    return f"""\
version: 1
obs:
  {name}:
    canvas: 640x360
    scenes: [main]
    program: main
    websocket: {{port: {port}, password: "${{secret:file:password}}"}}
scenes:
  main:
    items:
      - {{name: lamp, color: {{color: "{RED}", size: 160x160}}, position: [{PLACES[0]}, 100]}}
      - {{name: wall, color: {{color: "{GREY}", size: 640x360}}}}
"""


def large(port: int) -> str:
    """50 scenes of 10 sources."""
    names = [f"s{number}" for number in range(50)]
    lines = small("large", port).replace("scenes: [main]", f"scenes: [{', '.join(names)}]").splitlines()
    lines = lines[: lines.index("scenes:") + 1]
    for name in names:
        lines += [f"  {name}:", "    items:"]
        lines += [
            f'      - {{name: {name}-{n}, color: {{color: "{RED}", size: 20x20}}, position: [{20 * n}, 0]}}'
            for n in range(10)
        ]
    return "\n".join(lines).replace("program: main", "program: s0") + "\n"


def wait(fact: Callable[[], object], what: str, within: float = 60.0, pause: float = 0.002) -> float:
    """Seconds until it was so."""
    begun = time.monotonic()
    while not fact():
        assert time.monotonic() - begun < within, what
        time.sleep(pause)
    return time.monotonic() - begun


def converged(made: Host) -> None:
    wait(lambda: Daemon(made.settings).get("/v1/status")["converged"], "converged", pause=0.05)


@contextlib.contextmanager
def connected(port: int) -> Iterator[Client]:
    client = connect(port)
    yield client
    client.close()


def connect(port: int) -> Client:
    found: list[Client] = []

    def fact() -> bool:
        with contextlib.suppress(ConnectFault):
            found.append(Client.connect("127.0.0.1", port, PASSWORD))
        return bool(found)

    wait(fact, "OBS's websocket answers", pause=0.01)
    return found[0]


def starts(made: Host, times: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds from the save that declares an instance of a new name to its websocket; of the save without it to the
    end of all its processes; and, by turns with them, of starting Xvfb and OBS by hand to its websocket."""
    up, down, by_hand = [], [], []
    for turn in range(times):
        begun = time.monotonic()
        with studio(made.directory / f"by-hand{turn}") as other:
            other.connect().close()
            by_hand.append(time.monotonic() - begun)
        port, obs = free_port(), Instance(made, f"start{turn}")
        begun = time.monotonic()
        made.write(small(obs.name, port))
        connect(port).close()
        up.append(time.monotonic() - begun)
        converged(made)
        pids = [*obs.pids().values(), obs.obs_pid()]
        begun = time.monotonic()
        made.write(EMPTY)
        wait(lambda pids=pids: not any(map(alive, pids)), "it has ended")  # type: ignore[misc]  # bound at once
        down.append(time.monotonic() - begun)
        converged(made)
    return up, down, by_hand


def red_at(client: Client, x: int) -> bool:
    """Whether the lamp is seen there."""
    shot = client.call("GetSourceScreenshot", {"sourceName": "main", "imageFormat": "ppm", "imageWidth": 64})
    rows = base64.b64decode(str(shot["imageData"]).partition(",")[2])[-3 * 64 * 36 :]
    at = 3 * (18 * 64 + (x + 80) // 10)
    return rows[at] > 200 and rows[at + 1] < 60


def edits(made: Host, client: Client, times: int) -> list[float]:
    """Seconds from the rename over the profile to the picture."""
    taken = []
    for turn in range(times):
        old, new = PLACES[turn % 2], PLACES[(turn + 1) % 2]
        begun = time.monotonic()
        made.edit(f"position: [{old}, 100]", f"position: [{new}, 100]")
        wait(lambda new=new: red_at(client, new), "the edit is seen", pause=0)  # type: ignore[misc]  # bound at once
        taken.append(time.monotonic() - begun)
        converged(made)
    return taken


def drift_told(client: Client, times: int) -> list[float]:
    """Seconds until a scene that somebody made is gone; OBS tells of it."""
    taken = []
    for turn in range(times):
        client.call("CreateScene", {"sceneName": f"guest{turn}"})
        taken.append(wait(lambda: len(_list(client, "GetSceneList", "scenes")) == 1, "the scene is removed"))
    return taken


def drift_found(client: Client, times: int) -> list[float]:
    """Seconds until a colour that somebody set is as declared; OBS tells nothing of it."""
    taken = []
    for turn in range(times):
        time.sleep(0.37 * turn)  # anywhere between two looks
        client.call("SetInputSettings", {"inputName": "wall", "inputSettings": {"color": 0xFF000001}})
        taken.append(wait(lambda: _color(client) == 0xFF333333, "the colour is set right"))
    return taken


def _list(client: Client, request: str, key: str) -> list[object]:
    found = client.call(request)[key]
    assert isinstance(found, list)
    return found


def _color(client: Client) -> object:
    settings = client.call("GetInputSettings", {"inputName": "wall"})["inputSettings"]
    assert isinstance(settings, dict)
    return settings.get("color")


def cpu(pids: list[int]) -> float:
    """Processor seconds of these processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def idle(made: Host, name: str, seconds: float) -> tuple[float, float, float, float]:
    """Percent of a core: all of streamsd; its director; OBS; OBS while nobody asks it anything."""
    obs = Instance(made, name)
    pids, program = obs.pids(), obs.obs_pid()
    ours = [pid for pid in made.processes() if pid not in (program, pids["display"])]
    groups = [ours, [pids["director"]], [program]]
    time.sleep(3)
    before, begun = [cpu(group) for group in groups], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    shares = [100 * (cpu(group) - then) / took for group, then in zip(groups, before, strict=True)]
    os.kill(pids["director"], signal.SIGSTOP)
    try:
        alone, begun = cpu([program]), time.monotonic()
        time.sleep(seconds)
        shares.append(100 * (cpu([program]) - alone) / (time.monotonic() - begun))
    finally:
        os.kill(pids["director"], signal.SIGCONT)
    return shares[0], shares[1], shares[2], shares[3]


def measure(starts_: int, edits_: int, seconds: float) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="sb-") as directory, host(Path(directory)) as made:
        secret = made.directory / "password"
        secret.touch(0o600)
        secret.write_text(PASSWORD)
        made.write(EMPTY)
        made.up()
        up, down, by_hand = starts(made, starts_)
        yield Figure("empty directory to websocket ready, median", median(up), "s", "< 3")
        yield Figure("the slowest of them", max(up), "s")
        yield Figure("Xvfb and OBS by hand to websocket ready, median", median(by_hand), "s")
        yield Figure("clean stop, all its processes, median", median(down), "s", "< 3")

        port = free_port()
        made.write(large(port))
        begun = time.monotonic()
        connect(port).close()
        created = time.monotonic()
        converged(made)
        yield Figure("50 x 10, websocket ready to all as declared", time.monotonic() - created, "s")
        yield Figure("50 x 10, from the save", time.monotonic() - begun, "s")
        obs = Instance(made, "large")
        times, sent = [], 0
        for _ in range(7):
            begun = time.monotonic()
            answer = obs.operate("reset")
            times.append(time.monotonic() - begun)
            sent += answer["requests"]
        yield Figure("no-op reconcile of 50 x 10, asked over the socket, median", median(times), "s", "< 0.5")
        yield Figure("mutating requests of all of them", sent, "", "0")
        everything, director, _, _ = idle(made, "large", seconds)
        yield Figure("watching 50 x 10, idle: all of streamsd", everything, "% of a core")
        yield Figure("watching 50 x 10, idle: its director", director, "% of a core")

        port = free_port()
        made.write(small("studio", port))
        with connected(port) as client:
            converged(made)
            wait(lambda: red_at(client, PLACES[0]), "the lamp is seen")
            taken = edits(made, client, edits_)
            yield Figure("live edit of a transform, save to changed pixel, median", 1000 * median(taken), "ms")
            yield Figure("live edit of a transform, save to changed pixel, p95", 1000 * p95(taken), "ms", "< 400")
            told = drift_told(client, edits_)
            yield Figure("drift that OBS tells of, to repaired, p95", p95(told), "s", "< 1")
            found = drift_found(client, 10)
            yield Figure("drift that OBS does not tell of, to repaired, slowest", max(found), "s", "< 2 (a poll)")
        everything, director, busy, alone = idle(made, "studio", seconds)
        yield Figure("watching one instance, idle: all of streamsd", everything, "% of a core", "< 1")
        yield Figure("watching one instance, idle: its director", director, "% of a core")
        yield Figure("OBS itself, idle, watched", busy, "% of a core")
        yield Figure("OBS itself, idle, asked nothing", alone, "% of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--edits", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", help="a file to write the figures to; - is standard output")
    options = parser.parse_args()
    report("OBS", list(measure(options.starts, options.edits, options.seconds)), options.json)


if __name__ == "__main__":
    main()
