"""The control plane's figures: edits, plans, first apply, restarts, idle cost, adoption.

    python -m bench.control_plane [--sizes 100,1000] [--edits 30] [--json FILE]

The resources are apps that sleep, so that what is measured is streamsd and not what it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, median, p95, report
from tests.e2e.host import Host, host


def profile(count: int) -> str:
    lines = ["version: 1", "apps:"]
    for number in range(count):
        lines += [f"  a{number:04}:", f"    description: number {number}", f'    command: [sleep, "{100000 + number}"]']
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def running(count: int) -> Iterator[tuple[Host, float]]:
    """A host with `count` apps, converged; and the seconds the first apply took."""
    with tempfile.TemporaryDirectory(prefix="sb-") as directory, host(Path(directory)) as made:
        made.write(profile(count))
        begun = time.monotonic()
        made.up()
        made.converged(1)
        yield made, time.monotonic() - begun


def spawned(seconds: str, before: set[int]) -> float | None:
    """When a `sleep SECONDS` that was not there before began to be seen."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in before:
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes().endswith(b"sleep\0" + seconds.encode() + b"\0"):
                    return time.monotonic()
    return None


def edits(made: Host, count: int, times: int) -> tuple[list[float], int]:
    """Seconds from the rename over the profile to the new process; and how many other pids changed."""
    chance = random.Random(7)
    taken, others = [], 0
    for turn in range(times):
        number = chance.randrange(count)
        old, new = None, str(200000 + turn * count + number)
        text = made.profile.read_text()
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  a{number:04}:")) + 2
        old = lines[at].split('"')[1]
        before = made.pids()
        known = {int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit()}
        begun = time.monotonic()
        made.edit(f'"{old}"', f'"{new}"')
        while (seen := spawned(new, known)) is None:
            if time.monotonic() - begun > 30:
                raise AssertionError("the edit was not carried out")
        taken.append(seen - begun)
        made.converged()
        after = made.pids()
        others += len([u for u in before if before[u] != after.get(u)]) - 1
    return taken, others


def kills(made: Host, times: int) -> tuple[list[float], list[float]]:
    """Seconds from SIGKILL to the decision (the event's own time) and to running again."""
    decided, again = [], []
    units = sorted(made.pids())
    for turn in range(times):
        unit = units[turn % len(units)]
        pid = made.pid(unit)
        seconds = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1].decode()
        known = {int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit()}
        wall, begun = time.time(), time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while (seen := spawned(seconds, known)) is None:
            if time.monotonic() - begun > 30:
                raise AssertionError("not restarted")
        again.append(seen - begun)
        address = unit.rpartition("/")[0]
        events = made.until(lambda a=address, p=pid: [e for e in made.events("process-exited", a) if e["pid"] == p])  # type: ignore[misc]
        decided.append(_epoch(events[-1]["at"]) - wall)
    return decided, again


def _epoch(at: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()


def idle(made: Host, seconds: float) -> tuple[float, float]:
    """Percent of a core and MiB (PSS) of controller and runtime together."""
    assert made.daemon is not None
    pids = [made.daemon.pid, *(p for p in made.processes() if b"supervisor" in Path(f"/proc/{p}/cmdline").read_bytes())]
    before = sum(_cpu(pid) for pid in pids)
    time.sleep(seconds)
    used = sum(_cpu(pid) for pid in pids) - before
    return 100 * used / seconds, sum(_pss(pid) for pid in set(pids)) / 1024


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    return 0.0


def events(made: Host, event: str) -> list[dict[str, object]]:
    """All of one name since the host began: `events` alone gives the newest thousand."""
    lines = made.cli("events", "--since", "1", "--json").stdout.splitlines()
    return [found for line in lines if (found := json.loads(line))["event"] == event]


def timed(made: Host, *arguments: str) -> float:
    begun = time.monotonic()
    made.cli(*arguments)
    return time.monotonic() - begun


def plan_in_daemon(made: Host) -> float:
    """Seconds until the daemon has answered a plan that changes nothing."""
    begun = time.monotonic()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(made.settings.api_socket))
        connection.sendall(b"GET /v1/plan HTTP/1.0\r\nHost: streamsd\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert b'"changes":0' in answer, answer[:300]
    return time.monotonic() - begun


def adoption(made: Host) -> tuple[float, float, int, int]:
    """A fresh controller: seconds from the start of its process to converged, as the CLI sees it; from its own first
    word to having adopted all; actions it took; pids that changed."""
    before = made.pids()
    actions = len(events(made, "action"))
    made.kill()
    begun = time.monotonic()
    made.up()
    made.converged()
    taken = time.monotonic() - begun
    after = made.pids()
    inside = _epoch(str(events(made, "profile-accepted")[-1]["at"])) - _epoch(
        str(events(made, "daemon-started")[-1]["at"])
    )
    return taken, inside, len(events(made, "action")) - actions, len([u for u in before if before[u] != after.get(u)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100,1000")
    parser.add_argument("--edits", type=int, default=30)
    parser.add_argument("--json")
    options = parser.parse_args()
    figures: list[Figure] = []
    for size in [int(text) for text in options.sizes.split(",")]:
        with running(size) as (made, first):
            figures.append(Figure(f"first apply of {size}, from `streamsd up` to converged", first, "s"))
            accepted = _epoch(str(events(made, "profile-accepted")[0]["at"]))
            last = _epoch(str(events(made, "process-started")[-1]["at"]))
            reach = "< 10" if size == 1000 else ""
            figures.append(Figure(f"first apply of {size}, accepted to the last started", last - accepted, "s", reach))
            percent, mib = idle(made, 20)
            figures.append(Figure(f"idle at {size}", percent, "% of a core", "< 1" if size == 100 else ""))
            figures.append(Figure(f"memory at {size}, PSS", mib, "MiB", "< 120" if size == 100 else ""))
            inside = median([plan_in_daemon(made) for _ in range(7)])
            reach = {100: "< 100", 1000: "< 500"}.get(size, "")
            figures.append(Figure(f"no-op plan at {size}, asked over the socket", inside * 1000, "ms", reach))
            plans = [timed(made, "plan") for _ in range(7)]
            figures.append(Figure(f"streamsd plan at {size}, whole command", median(plans) * 1000, "ms", "< 300"))
            taken, others = edits(made, size, options.edits)
            reach = {100: "< 150", 1000: "< 300"}.get(size, "")
            figures.append(Figure(f"save to spawn at {size}, median", median(taken) * 1000, "ms"))
            figures.append(Figure(f"save to spawn at {size}, p95", p95(taken) * 1000, "ms", reach))
            figures.append(Figure(f"other pids changed by {options.edits} edits at {size}", others, "", "0"))
            decided, again = kills(made, 20)
            figures.append(Figure(f"kill to decision at {size}, p95", p95(decided) * 1000, "ms", "< 20"))
            figures.append(Figure(f"kill to running at {size}, p95", p95(again) * 1000, "ms", "< 60"))
            adopted, inside, actions, changed = adoption(made)
            reach = "< 1" if size == 1000 else ""
            figures.append(Figure(f"fresh controller at {size}, its start to all adopted", inside, "s", reach))
            figures.append(Figure(f"fresh controller at {size}, `streamsd up` to converged", adopted, "s"))
            figures.append(Figure(f"actions and changed pids of that at {size}", actions + changed, "", "0"))
    report("control_plane", figures, options.json)


if __name__ == "__main__":
    main()
