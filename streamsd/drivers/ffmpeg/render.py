"""From what is wanted to ffmpeg's command lines. Pure: no file is read, nothing is started.

ffmpeg-python builds the graph and the order of options; running is the runtime's work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from streamsd.drivers.ffmpeg.media import (
    AudioEncoding,
    AudioSource,
    FileSource,
    Latency,
    PulseSource,
    ScreenSource,
    TestPattern,
    ToneSource,
    VideoEncoding,
    VideoSource,
)

Options = dict[str, Any]

_QUIET: Options = {"hide_banner": None, "loglevel": "warning", "nostdin": None}

_PACED: Options = {"re": None, "readrate_initial_burst": 0}
"""Read at the pace of the media's own clock, from the first frame on."""

_NUT: Options = {
    "format": "nut",
    # Sync points make writer and reader of an endless stream keep a table that grows with every frame.
    "syncpoints": "none",
    "f_strict": "experimental",
    "flush_packets": 1,
    # NUT has no negative times, and AAC begins before zero: without this each output would be moved by itself.
    "output_ts_offset": 1,
}

_BT709 = "bt709"


@dataclass(frozen=True, slots=True)
class RelayPorts:
    """Where an encoder writes to: unix sockets, relative to its working directory (108 bytes are few)."""

    video: str
    audio: str
    progress: str


def encoder(
    program: Path,
    video: VideoSource,
    encoding: VideoEncoding,
    audio: tuple[AudioSource, AudioEncoding] | None,
    ports: RelayPorts,
) -> tuple[str, ...]:
    """One capture, one encoder; pictures and sound leave by themselves, so that neither waits for the other."""
    clock = _clock(video, audio[0] if audio else None)
    picture = _video_input(video, clock)
    outputs = [
        ffmpeg.output(
            _picture(picture.video, video, encoding),
            f"unix:{ports.video}",
            **_h264(encoding),
            **_pace(encoding, clock),
            **_NUT,
        )
    ]
    if audio:
        source, sound = audio
        shared = isinstance(source, FileSource) and source == video
        track = picture.audio if shared else _audio_input(source, clock).audio
        if isinstance(source, PulseSource):
            # Each block is stamped by the clock on the wall, give or take: stretched to fit, so that none overlaps.
            track = track.filter("aresample", **{"async": 1000})
        outputs.append(
            ffmpeg.output(
                track,
                f"unix:{ports.audio}",
                **{"c:a": "aac", "b:a": sound.bitrate.bps, "ar": sound.rate, "ac": sound.channels},
                **_NUT,
            )
        )
    top = {**_QUIET, "progress": f"unix:{ports.progress}", "stats_period": 0.5}
    return _command(program, top, ffmpeg.merge_outputs(*outputs))


def handover(program: Path, ports: RelayPorts, *, sound: bool) -> tuple[str, ...]:
    """Hand H.264 and AAC that come as FLV on stdin to a relay, without touching a frame. The publisher's headers say
    all that there is to know: there is no need to look at seconds of it first."""
    published = _input("pipe:0", format="flv", fflags="nobuffer", probesize=500_000, analyzeduration=500_000)
    # Parameter sets before every keyframe, as from an encoder of our own.
    headers = "h264_mp4toannexb,dump_extra=freq=keyframe"
    outputs = [ffmpeg.output(published.video, f"unix:{ports.video}", **{"c:v": "copy", "bsf:v": headers}, **_NUT)]
    if sound:
        outputs.append(ffmpeg.output(published.audio, f"unix:{ports.audio}", **{"c:a": "copy"}, **_NUT))
    top = {**_QUIET, "progress": f"unix:{ports.progress}", "stats_period": 0.5}
    return _command(program, top, ffmpeg.merge_outputs(*outputs))


def hls(
    program: Path,
    source: str,
    playlist: Path,
    *,
    segment_seconds: float,
    window_seconds: float,
) -> tuple[str, ...]:
    """Package what the relay sends as HLS with fragmented MP4, without touching a frame.

    `copyts` keeps the relay's timeline, which goes on through restarts of encoder and packager: a player sees a gap
    where there was one, and goes on. Segments that fell out of the window stay for three more, for slow readers.
    """
    output = ffmpeg.output(
        _relay(source),
        str(playlist),
        map=0,
        c="copy",
        copyts=None,
        muxdelay=0,
        muxpreload=0,
        format="hls",
        hls_time=_number(segment_seconds),
        hls_list_size=max(3, math.ceil(window_seconds / segment_seconds)),
        hls_delete_threshold=3,
        hls_segment_type="fmp4",
        strftime=1,
        hls_fmp4_init_filename="init-%s.mp4",
        hls_segment_filename=f"{playlist.parent}/".replace("%", "%%") + "segment-%s-%%d.m4s",
        hls_flags="+".join(
            (
                "independent_segments",
                "delete_segments",
                "program_date_time",
                "append_list",
                "omit_endlist",
                "temp_file",
                "second_level_segment_index",
            )
        ),
    )
    return _command(program, _QUIET, output)


def try_encoder(program: Path, name: str) -> tuple[str, ...]:
    """Encode one small frame: whether an encoder that is compiled in also initialises on this host."""
    black = _input("color=black:size=256x256:rate=1", format="lavfi")
    output = ffmpeg.output(black, "-", **{"frames:v": 1, "c:v": name, "pix_fmt": "yuv420p"}, format="null")
    return _command(program, {**_QUIET, "loglevel": "error"}, output)


def _command(program: Path, top: Mapping[str, Any], outputs: Any) -> tuple[str, ...]:
    words: list[str] = []
    for name, value in top.items():
        words += [f"-{name}"] if value is None else [f"-{name}", str(value)]
    return (str(program), *words, *(str(word) for word in ffmpeg.get_args(outputs)), "-y")


def _relay(source: str) -> Any:
    # What it needs to know is in the headers: no need to look at seconds of the stream first.
    return _input(source, format="nut", probesize=500_000, analyzeduration=500_000)


def _input(name: str, **options: Any) -> Any:
    return ffmpeg.input(name, **options)  # type: ignore[no-untyped-call]  # ffmpeg-python has no types


def _clock(video: VideoSource, audio: AudioSource | None) -> Options:
    """Two live captures are stamped by the same clock; left alone, ffmpeg would start each at zero and lose by how
    much they were apart."""
    live = isinstance(video, ScreenSource) and isinstance(audio, PulseSource)
    return {"copyts": None} if live else {}


def _video_input(source: VideoSource, clock: Options) -> Any:
    match source:
        case TestPattern(pattern, resolution, fps):
            return _input(f"{pattern}=size={resolution}:rate={_number(fps)}", format="lavfi", **_PACED)
        case FileSource():
            return _file(source)
        case ScreenSource():
            options: Options = {
                "format": "x11grab",
                "framerate": _number(source.fps),
                "draw_mouse": int(source.cursor),
                "thread_queue_size": 64,
                **clock,
            }
            if source.window:
                options["window_id"] = source.window
                return _input(source.display, **options)
            options["video_size"] = (source.resolution.width, source.resolution.height)
            return _input(f"{source.display}.0+{source.x},{source.y}", **options)


def _audio_input(source: AudioSource, clock: Options) -> Any:
    match source:
        case ToneSource(hertz):
            return _input(f"sine=frequency={hertz}:sample_rate=48000", format="lavfi", **_PACED)
        case FileSource():
            return _file(source)
        case PulseSource(server, name):
            # 1920 bytes: 10 ms of 48 kHz stereo, instead of two seconds.
            options: Options = {"server": server, "fragment_size": 1920, "thread_queue_size": 256, **clock}
            return _input(name, format="pulse", **options)


def _file(source: FileSource) -> Any:
    return _input(f"file:{source.path}", **({"stream_loop": -1} if source.loop else {}), **_PACED)


def _picture(stream: Any, source: VideoSource, encoding: VideoEncoding) -> Any:
    """The filters: size, and BT.709 made and said. Untagged, players take the small ones for BT.601, and greens and
    reds are off."""
    if encoding.fps is not None and (isinstance(source, FileSource) or source.fps != encoding.fps):
        stream = stream.filter("fps", _number(encoding.fps))
    size: tuple[int, ...] = ()
    if encoding.size:
        size = (encoding.size.width, encoding.size.height)
    elif not _is_even(source):
        # 4:2:0 needs an even size. Cutting a line off leaves every other pixel as it is.
        stream = stream.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2", 0, 0)
    stream = stream.filter("scale", *size, out_color_matrix=_BT709, out_range="tv", flags="bicubic")
    stream = stream.filter("format", "yuv420p")
    return stream.filter("setparams", color_primaries=_BT709, color_trc=_BT709, colorspace=_BT709)


def _is_even(source: VideoSource) -> bool:
    """Whether its width and height are known to be even. Only ffmpeg will know a file's or a window's."""
    if isinstance(source, FileSource) or (isinstance(source, ScreenSource) and source.window):
        return False
    return source.resolution.width % 2 == 0 and source.resolution.height % 2 == 0


def _h264(encoding: VideoEncoding) -> Options:
    seconds = {Latency.LOW: 0.5, Latency.NORMAL: 1.0, Latency.QUALITY: 2.0}[encoding.latency]
    options: Options = {
        "c:v": "libx264",
        "preset": encoding.preset,
        "profile:v": encoding.profile,
        "b:v": encoding.bitrate.bps,
        "maxrate": encoding.bitrate.bps,
        "bufsize": round(encoding.bitrate.bps * seconds),
        "pix_fmt": "yuv420p",
        "color_range": "tv",
        "color_primaries": _BT709,
        "color_trc": _BT709,
        "colorspace": _BT709,
        # A cut in the picture is no reason for a keyframe: segments would be of any length.
        "sc_threshold": 0,
        # Parameter sets before every keyframe: readers join at any of them, and a new encoder's are never missed.
        "bsf:v": "dump_extra=freq=keyframe",
    }
    match encoding.latency:
        case Latency.LOW:
            options["tune"] = "zerolatency"
        case Latency.NORMAL:
            options |= {"bf": 2, "rc-lookahead": 15}
        case Latency.QUALITY:
            pass
    if encoding.fps is None:
        options |= {"g": 600, "force_key_frames": f"expr:gte(t,n_forced*{_number(encoding.gop_seconds)})"}
    else:
        frames = max(1, round(encoding.fps * encoding.gop_seconds))
        options |= {"g": frames, "keyint_min": frames}
    return options


def _pace(encoding: VideoEncoding, clock: Options) -> Options:
    """A constant rate, where it is known. With the capture's own clock, which counts from 1970, ffmpeg would fill the
    years before with copies: there each frame keeps its time, and none is made up."""
    if encoding.fps is None:
        return {}
    if clock:
        return {"fps_mode": "vfr"}
    return {"fps_mode": "cfr", "r": _number(encoding.fps)}


def _number(value: float) -> str:
    return f"{value:g}"
