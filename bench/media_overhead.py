"""What streamsd costs beside the encoder: 1080p30 with two destinations, against the same ffmpeg run by hand.

    python -m bench.media_overhead [--rounds 3] [--seconds 20] [--json FILE]

By hand: the encoder's own command line, writing HLS and a recording itself, by the tee muxer. With streamsd: encoder,
relay, packager, recorder, web server, runtime and controller. Both draw the same picture; both are measured in turns.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, median, report
from tests.e2e.host import Host, host

PROFILE = """
version: 1
servers:
  web: {listen: "127.0.0.1:PORT"}
streams:
  s:
    video: {source: {test: {pattern: testsrc2, resolution: 1920x1080}}, fps: 30, bitrate: 4500k, preset: superfast}
    destinations:
      web: {hls: {server: web}}
      archive: {record: {path: recordings, segment: 1m}}
"""


_OURS = {"-progress", "-stats_period", "-f_strict", "-flush_packets", "-syncpoints", "-output_ts_offset", "-bsf:v"}
"""Options, each with a value, that are there for the relay."""


def by_hand(argv: list[str], directory: Path) -> subprocess.Popen[bytes]:
    """The encoder's very command line, but that it writes both outputs itself."""
    outputs = (
        f"[f=hls:hls_time=2:hls_list_size=15:hls_segment_type=fmp4:hls_flags=delete_segments]{directory}/index.m3u8"
        f"|[f=segment:segment_format=matroska:segment_time=60]{directory}/record-%03d.mkv"
    )
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word in _OURS:
            next(rest)
        elif word == "nut":
            words += ["tee", "-flags", "+global_header"]
        elif word.startswith("unix:"):
            words.append(outputs)
        else:
            words.append(word)
    return subprocess.Popen(words)


def cpu(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def parts(made: Host) -> dict[str, list[int]]:
    """Processes by what they do."""
    assert made.daemon is not None
    found: dict[str, list[int]] = {"controller": [made.daemon.pid]}
    units = made.pids()
    for unit, pid in units.items():
        found.setdefault(unit.rpartition("/")[2], []).append(pid)
    for pid in made.processes():
        if pid in units.values() or pid == made.daemon.pid:
            continue
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        owner = next((name for name, pids in found.items() if parent in pids), "runtime")
        found.setdefault(owner, []).append(pid)
    return found


def over(pids: list[int], before: float, seconds: float) -> float:
    return 100 * (sum(cpu(pid) for pid in pids) - before) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json")
    options = parser.parse_args()
    hand: list[float] = []
    ours: list[dict[str, float]] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="sb-") as directory, host(Path(directory)) as made:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            made.write(PROFILE.replace("PORT", str(port)))
            made.up()
            made.converged(1)
            time.sleep(4)
            names = parts(made)
            begun = {name: sum(cpu(pid) for pid in pids) for name, pids in names.items()}
            time.sleep(options.seconds)
            ours.append({name: over(pids, begun[name], options.seconds) for name, pids in names.items()})
            units = made.json("describe", "Stream/s")["units"]
        argv = next(unit["argv"] for unit in units if unit["role"] == "encoder")
        with tempfile.TemporaryDirectory(prefix="sb-") as directory:
            process = by_hand(argv, Path(directory))
            time.sleep(4)
            before = cpu(process.pid)
            time.sleep(options.seconds)
            hand.append(over([process.pid], before, options.seconds))
            process.terminate()
            process.wait()
    names_seen = sorted({name for one in ours for name in one}, key=lambda name: (name != "encoder", name))
    figures = [Figure("ffmpeg by hand, both outputs", median(hand), "% of a core")]
    figures += [
        Figure(f"streamsd: {name}", median([one.get(name, 0.0) for one in ours]), "% of a core") for name in names_seen
    ]
    total = median([sum(one.values()) for one in ours])
    figures.append(Figure("streamsd, all of it", total, "% of a core"))
    figures.append(Figure("on top of ffmpeg by hand", total - median(hand), "% of a core", "< 3"))
    beside = median([sum(v for name, v in one.items() if name != "encoder") for one in ours])
    figures.append(Figure("all but the encoder", beside, "% of a core"))
    report("media_overhead", figures, options.json)


if __name__ == "__main__":
    main()
