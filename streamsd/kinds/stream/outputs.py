"""From a stream's destinations to their processes."""

from __future__ import annotations

import glob
from pathlib import Path
from signal import Signals

from streamsd.core.address import Address, UnitId
from streamsd.core.claim import Claim
from streamsd.core.kind import Context, Resource
from streamsd.core.unit import FileGrows, Probe, Probes, ProcessAlive, Reports, StopPolicy, Unit
from streamsd.drivers.ffmpeg.render import hls
from streamsd.drivers.web import WebRoot
from streamsd.kinds.stream.inputs import absolute
from streamsd.kinds.stream.spec import DestinationSpec, HlsSpec, RecordSpec, StreamSpec

RELAY = "relay"
"""The role that every other one of a stream comes after."""

OUTPUT = "out.sock"
"""Where the relay hands the stream out, relative to the stream's directory."""

PREFIX = "destination."


def role(name: str) -> str:
    """The role of a destination's process."""
    return PREFIX + name


def destination(
    name: str, spec: DestinationSpec, resource: Resource[StreamSpec], context: Context, ffmpeg: Path
) -> Unit:
    """The process that sends the stream there."""
    if spec.hls is not None:
        return _hls(name, spec.hls, resource, context, ffmpeg)
    assert spec.record is not None, "exactly one output is given"
    return _record(name, spec.record, resource, context, ffmpeg)


def playlist_names(stream: str, destination_name: str) -> tuple[str, ...]:
    """Where a destination's playlist is, below the web server's root."""
    return (stream, destination_name, "index.m3u8")


def web_root(spec: HlsSpec, context: Context) -> WebRoot:
    return context.exports(Address("Server", spec.server), WebRoot)


def urls(resource: Resource[StreamSpec], context: Context) -> dict[str, str]:
    """Each HLS destination with the URL of its playlist."""
    return {
        name: web_root(spec.hls, context).address(*playlist_names(resource.address.name, name))
        for name, spec in resource.spec.destinations.items()
        if spec.hls is not None
    }


def report_path(directory: Path, name: str) -> Path:
    """Where the destination's program tells its state."""
    return directory / f"{name}.report.json"


def claims(resource: Resource[StreamSpec]) -> tuple[Claim, ...]:
    """No two recorders may share their files: each would expire the other's."""
    return tuple(
        Claim("recording-path", pattern(d.record, resource), ("destinations", name, "record", "path"))
        for name, d in resource.spec.destinations.items()
        if d.record is not None
    )


def pattern(spec: RecordSpec, resource: Resource[StreamSpec]) -> str:
    return str(absolute(resource.base, spec.path))


def _hls(name: str, spec: HlsSpec, resource: Resource[StreamSpec], context: Context, ffmpeg: Path) -> Unit:
    address = resource.address
    playlist = web_root(spec, context).directory(*playlist_names(address.name, name))
    segment = max(spec.segment_seconds, resource.spec.gop_seconds)
    return Unit(
        id=UnitId(address, role(name)),
        argv=hls(
            ffmpeg,
            f"unix:{OUTPUT}",
            playlist,
            segment_seconds=spec.segment_seconds,
            window_seconds=spec.window_seconds,
        ),
        cwd=context.directory(address),
        directories=(playlist.parent,),
        probes=Probes(
            # What is published begins whenever its publisher comes: the packager has started once it lives.
            startup=Probe(FileGrows(glob.escape(str(playlist))), interval=0.1)
            if resource.spec.source is None
            else Probe(ProcessAlive(), interval=0.05),
            readiness=Probe(FileGrows(glob.escape(str(playlist))), interval=2 * segment + 1, failures=2),
            within=60.0,
        ),
        # Asked once, it waits for a frame; asked again, it does not.
        stop=StopPolicy(((Signals.SIGINT, 1.0), (Signals.SIGTERM, 2.0))),
        after=(RELAY,),
    )


def _record(name: str, spec: RecordSpec, resource: Resource[StreamSpec], context: Context, ffmpeg: Path) -> Unit:
    address = resource.address
    directory = context.directory(address)
    report = report_path(directory, name)
    argv = [
        *context.python("streamsd.programs.recorder"),
        *("--ffmpeg", str(ffmpeg), "--source", OUTPUT, "--path", pattern(spec, resource)),
        *("--segment", f"{spec.segment.seconds:g}", "--name", f"{address.name}.{name}", "--report", str(report)),
    ]
    if spec.keep is not None:
        argv += ["--keep", f"{spec.keep.seconds:g}"]
    if spec.keep_size is not None:
        argv += ["--keep-size", str(spec.keep_size.bytes)]
    return Unit(
        id=UnitId(address, role(name)),
        argv=tuple(argv),
        cwd=directory,
        probes=Probes(
            # It has started once it reports: a full disk is a state it lives in, not a failed start.
            startup=Probe(FileGrows(glob.escape(str(report))), interval=0.1),
            readiness=Probe(Reports(report), interval=2.0),
            # Written every second, whatever the state of the disk. Patient: a replaced recorder cuts its file.
            liveness=Probe(FileGrows(glob.escape(str(report))), interval=5.0, failures=6),
        ),
        stop=StopPolicy(((Signals.SIGTERM, 8.0),)),
        after=(RELAY,),
    )
