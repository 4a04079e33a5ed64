"""From a stream's spec to its processes: a relay, an encoder before it, destinations behind it."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from pathlib import Path
from signal import Signals

from streamsd.core.address import UnitId
from streamsd.core.claim import tcp_claim
from streamsd.core.diagnostics import Problem, ProblemsError, Severity
from streamsd.core.kind import Compiled, Context, Finding, Kind, Observation, Resource
from streamsd.core.report import JsonValue, read_report
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.unit import (
    FfmpegProgress,
    FileGrows,
    Probe,
    Probes,
    Reports,
    RestartMode,
    RestartPolicy,
    StopPolicy,
    Unit,
    UnixSocket,
)
from streamsd.drivers.ffmpeg.capabilities import ENCODERS, encoder_works
from streamsd.drivers.ffmpeg.media import AudioEncoding, FileSource, VideoEncoding
from streamsd.drivers.ffmpeg.render import RelayPorts, encoder
from streamsd.drivers.relay import StreamExports
from streamsd.kinds.stream import ingest, outputs
from streamsd.kinds.stream.inputs import WINDOW_REPORT, audio_input, missing_files, video_input
from streamsd.kinds.stream.spec import StreamSpec, VideoSpec

RELAY = outputs.RELAY
ENCODER = "encoder"

_WINDOW_SECONDS = 86_400.0
"""A window may come whenever it comes: to start the launcher anew would not make it come earlier."""

_PORTS = RelayPorts(video="video.in", audio="audio.in", progress="progress.sock")


class StreamKind(Kind[StreamSpec]):
    name = "Stream"
    section = "streams"
    summary = "Pictures and sound, encoded once, sent to any number of destinations."
    spec = StreamSpec

    def check_spec(self, name: str, spec: StreamSpec) -> Iterable[Problem]:
        if spec.source is not None:
            yield from ingest.check(spec.source.ingest)
        scale = spec.video.scale if spec.video else None
        if scale and (scale.width % 2 or scale.height % 2):
            yield Problem(
                "size-odd",
                f"{scale} cannot be encoded: width and height must be even",
                f"write {scale.width // 2 * 2}x{scale.height // 2 * 2}",
                ("video", "scale"),
            )
        for key, destination in spec.destinations.items():
            hls = destination.hls
            if hls and hls.segment and spec.video and hls.segment.seconds < spec.video.gop_seconds:
                yield Problem(
                    "segment-short",
                    f"segments of {hls.segment} cannot be: a segment begins at a keyframe, and there is one every"
                    f" {spec.video.gop_seconds:g}s",
                    f"set video.gop to {hls.segment}, or leave segment out",
                    ("destinations", key, "hls", "segment"),
                    Severity.WARNING,
                )

    def check(self, resource: Resource[StreamSpec], context: Context) -> Iterable[Problem]:
        spec = resource.spec
        program = context.program("ffmpeg")
        if program is None:
            yield Problem(
                "program-missing", "ffmpeg is not installed", "apt install ffmpeg, or pip install imageio-ffmpeg"
            )
        elif spec.video and not encoder_works(program, ENCODERS[spec.video.codec]):
            yield Problem(
                "encoder-missing",
                f"{program} cannot encode {spec.video.codec}: {ENCODERS[spec.video.codec]} does not initialise",
                "choose another ffmpeg, or run streamsd doctor",
                ("video", "codec"),
            )
        yield from missing_files(resource)

    def compile(self, resource: Resource[StreamSpec], context: Context) -> Compiled:
        program = context.program("ffmpeg")
        if program is None:
            raise ProblemsError([Problem("program-missing", "ffmpeg is not installed", "apt install ffmpeg")])
        directory = context.directory(resource.address)
        relay = _relay(resource, context, directory)
        claims = outputs.claims(resource)
        point = None
        source = resource.spec.source
        if source is not None:
            port = source.ingest.port or ingest.free_port(resource.address, context)
            key = source.ingest.key or ingest.own_key(directory)
            first = ingest.unit(resource.address, source.ingest, port, key, context, program, _PORTS)
            claims = (*claims, tcp_claim(source.ingest.host, port, ("source", "ingest", "listen")))
            point = ingest.point(source.ingest, port, key)
        else:
            assert resource.spec.video is not None, "a stream has video or source"
            first = _encoder(resource, resource.spec.video, context, directory, program)
        return Compiled(
            units=(
                relay,
                first,
                *(
                    outputs.destination(name, spec, resource, context, program)
                    for name, spec in resource.spec.destinations.items()
                ),
            ),
            claims=claims,
            exports=StreamExports(directory / outputs.OUTPUT, outputs.urls(resource, context), point),
            required=frozenset({RELAY, first.id.role}),
        )

    async def observe(
        self, resource: Resource[StreamSpec], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        """Figures from the relay's report, which has the encoder's; findings from what destinations say."""
        exports = compiled.exports
        assert isinstance(exports, StreamExports)
        directory = exports.output.parent
        observed: dict[str, JsonValue] = {}
        report = read_report(_report(directory))
        if report and _runs(units, RELAY):
            observed |= report.observed
        findings: list[Finding] = []
        published = read_report(ingest.report_path(directory)) if resource.spec.source else None
        if published and _runs(units, ingest.INGEST):
            observed |= published.observed
            if published.degraded:
                findings.append(Finding(published.reason, published.message, ingest.INGEST))
            elif report and not report.ready:
                findings.append(Finding(report.reason, report.message, RELAY))
        video = resource.spec.video
        window = read_report(directory / WINDOW_REPORT) if video and video.source.window else None
        if window and _runs(units, ENCODER):
            findings.append(Finding(window.reason, window.message, ENCODER))
        states: dict[str, JsonValue] = {}
        for name, spec in resource.spec.destinations.items():
            state: dict[str, JsonValue] = {}
            if name in exports.urls:
                state["url"] = exports.urls[name]
            said = read_report(outputs.report_path(directory, name)) if spec.record else None
            if said and _runs(units, outputs.role(name)):
                state |= said.observed
                if said.degraded:
                    findings.append(Finding(said.reason, f"{name}: {said.message}", outputs.role(name)))
            states[name] = state
        return Observation(observed={**observed, "destinations": states}, findings=tuple(findings))


def _relay(resource: Resource[StreamSpec], context: Context, directory: Path) -> Unit:
    report = _report(directory)
    # What is published comes when its publisher wants: until then the stream is ready for it, and says that it waits.
    readiness = Probe(Reports(report), interval=2.0) if resource.spec.source is None else None
    return Unit(
        id=UnitId(resource.address, RELAY),
        argv=(
            *context.python("streamsd.programs.relay"),
            *("--input", _PORTS.video, "--input", _PORTS.audio, "--output", outputs.OUTPUT),
            *("--progress", _PORTS.progress, "--progress-file", str(_progress(directory)), "--report", str(report)),
        ),
        cwd=directory,
        probes=Probes(
            startup=Probe(UnixSocket(directory / outputs.OUTPUT), interval=0.02),
            readiness=readiness,
            # Written every second, whether frames come or not: a missing encoder is not the relay's fault.
            liveness=Probe(FileGrows(glob.escape(str(report))), interval=5.0),
        ),
        stop=StopPolicy(((Signals.SIGTERM, 4.0),)),
    )


def _encoder(
    resource: Resource[StreamSpec], video: VideoSpec, context: Context, directory: Path, program: Path
) -> Unit:
    spec = resource.spec
    picture = video_input(resource, video, context)
    env = dict(picture.env)
    sound = None
    if spec.audio:
        source, needs = audio_input(spec.audio.source, resource, context)
        env |= needs
        sound = (source, AudioEncoding(spec.audio.bitrate, spec.audio.rate, spec.audio.channels))
    encoding = VideoEncoding(
        bitrate=video.bitrate,
        preset=video.preset,
        profile=video.profile,
        latency=video.latency,
        gop_seconds=video.gop_seconds,
        fps=picture.fps,
        size=video.scale,
    )
    ends = isinstance(picture.source, FileSource) and not picture.source.loop
    progress = FfmpegProgress(_progress(directory))
    return Unit(
        id=UnitId(resource.address, ENCODER),
        argv=(*picture.launcher, *encoder(program, picture.source, encoding, sound, _PORTS)),
        env=env,
        cwd=directory,
        probes=Probes(
            startup=Probe(progress, interval=0.1),
            readiness=Probe(progress, interval=1.0),
            liveness=Probe(progress, interval=1.0, failures=5),
            within=_WINDOW_SECONDS if picture.launcher else 30.0,
        ),
        stop=StopPolicy(((Signals.SIGINT, 4.0), (Signals.SIGTERM, 2.0))),
        # Exit 0 is not success: it is how x11grab ends when its screen shrinks or its X server dies.
        restart=RestartPolicy(mode=RestartMode.ON_FAILURE if ends else RestartMode.ALWAYS),
        after=(RELAY,),
    )


def _report(directory: Path) -> Path:
    return directory / "relay.json"


def _progress(directory: Path) -> Path:
    return directory / "progress"


def _runs(units: Mapping[str, ObservedUnit], role: str) -> bool:
    unit = units.get(role)
    return unit is not None and unit.state is ProcessState.RUNNING


KIND = StreamKind()
