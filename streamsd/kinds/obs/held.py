"""What an OBS holds, as an import finds it: read back by a director, or in its own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamsd.drivers.obs.profile_directory import ProfileFiles
from streamsd.drivers.obs.render import version_of

Json = dict[str, Any]
Parameter = tuple[str, str]

TRACKS = range(1, 7)
DEFAULTS: Mapping[Parameter, str | None] = {
    ("Output", "Mode"): "Simple",
    ("Output", "Reconnect"): "true",
    ("Output", "RetryDelay"): "2",
    ("Output", "MaxRetries"): "25",
    ("Output", "FilenameFormatting"): "%CCYY-%MM-%DD %hh-%mm-%ss",
    ("SimpleOutput", "VBitrate"): "2500",
    ("SimpleOutput", "ABitrate"): "160",
    ("SimpleOutput", "StreamEncoder"): "x264",
    ("SimpleOutput", "Preset"): "veryfast",
    ("SimpleOutput", "UseAdvanced"): "false",
    ("SimpleOutput", "x264Settings"): None,
    ("SimpleOutput", "FilePath"): None,
    ("SimpleOutput", "RecFormat"): "mkv",
    ("SimpleOutput", "RecFormat2"): None,
    ("SimpleOutput", "RecQuality"): "Stream",
    ("SimpleOutput", "RecRB"): "false",
    ("SimpleOutput", "RecRBTime"): "20",
    ("AdvOut", "Encoder"): "obs_x264",
    ("AdvOut", "RecEncoder"): "none",
    ("AdvOut", "TrackIndex"): "1",
    **{("AdvOut", f"Track{n}Bitrate"): "160" for n in TRACKS},
    **{("AdvOut", f"Track{n}Name"): None for n in TRACKS},
    ("AdvOut", "RecFilePath"): None,
    ("AdvOut", "RecFormat"): "mkv",
    ("AdvOut", "RecFormat2"): None,
    ("AdvOut", "RecTracks"): "1",
    ("AdvOut", "RecRB"): "false",
    ("AdvOut", "RecRBTime"): "20",
    ("Audio", "SampleRate"): "48000",
    ("Audio", "ChannelSetup"): "Stereo",
}
"""OBS 29.0.2's own (GetProfileParameter), for a profile of which only the files are there. Directories are the
user's."""

WRITTEN: Mapping[Parameter, str] = {
    ("Output", "DelayEnable"): "false",
    ("Output", "DelaySec"): "20",
    ("Output", "DelayPreserve"): "true",
    ("Output", "BindIP"): "default",
    ("Output", "IPFamily"): "IPv4+IPv6",
    ("Output", "NewSocketLoopEnable"): "false",
    ("Output", "LowLatencyEnable"): "false",
    ("SimpleOutput", "NVENCPreset2"): "p5",
    ("SimpleOutput", "RecEncoder"): "x264",
    ("SimpleOutput", "RecTracks"): "1",
    ("SimpleOutput", "RecRBSize"): "512",
    ("SimpleOutput", "RecRBPrefix"): "Replay",
    ("SimpleOutput", "StreamAudioEncoder"): "aac",
    ("SimpleOutput", "RecAudioEncoder"): "aac",
    ("AdvOut", "ApplyServiceSettings"): "true",
    ("AdvOut", "UseRescale"): "false",
    ("AdvOut", "VodTrackIndex"): "2",
    ("AdvOut", "RecType"): "Standard",
    ("AdvOut", "RecUseRescale"): "false",
    ("AdvOut", "FLVTrack"): "1",
    ("AdvOut", "StreamMultiTrackAudioMixes"): "1",
    ("AdvOut", "RecSplitFileTime"): "15",
    ("AdvOut", "RecSplitFileSize"): "2048",
    ("AdvOut", "RecRBSize"): "512",
    ("AdvOut", "AudioEncoder"): "ffmpeg_aac",
    ("AdvOut", "RecAudioEncoder"): "ffmpeg_aac",
    ("Video", "ScaleType"): "bicubic",
    ("Video", "ColorFormat"): "NV12",
    ("Video", "ColorSpace"): "709",
    ("Video", "ColorRange"): "Partial",
    ("Video", "SdrWhiteLevel"): "300",
    ("Video", "HdrNominalPeakLevel"): "1000",
}
"""Defaults that OBS writes into each basic.ini from 30 on, beside those above: 30.2.3 and 32.2.2 the same. Nobody has
set them."""

PARAMETERS = tuple(DEFAULTS)
"""What an import asks for."""


@dataclass(frozen=True)
class Held:
    """What an OBS holds. `parameters`: of the profile, each with its default; `more`: others that its file sets.
    `service`: {"type", "settings", "secrets": [names]}. `active`: the outputs that run."""

    studio: Mapping[str, Any]
    profile: str = ""
    collection: str = ""
    parameters: Mapping[Parameter, tuple[str | None, str | None]] = field(default_factory=dict)
    more: Mapping[Parameter, str] = field(default_factory=dict)
    encoders: Mapping[str, Json] = field(default_factory=dict)
    service: Json | None = None
    active: frozenset[str] = frozenset()
    version: tuple[int, ...] = ()

    def value(self, section: str, name: str) -> str | None:
        """None where OBS has no value."""
        return self.parameters.get((section, name), (None, None))[0]

    def is_set(self, parameter: Parameter) -> bool:
        """Whether it has a value that is not the default."""
        value, default = self.parameters.get(parameter, (None, None))
        return bool(value) and value != default

    @property
    def section(self) -> str:
        """Of the output mode."""
        return "AdvOut" if self.value("Output", "Mode") == "Advanced" else "SimpleOutput"


def held_in_files(studio: Mapping[str, Any], collection: str, files: ProfileFiles) -> Held:
    """By a collection's file (`studio_of`) and the files of a profile."""
    return Held(
        studio={**studio, "video": files.video},
        profile=files.name,
        collection=collection,
        parameters={key: (files.parameters.get(key, default), default) for key, default in DEFAULTS.items()},
        more=_more(files),
        encoders=files.encoders,
        service=files.service,
        # OBS 30 is the first that writes this
        version=(30,) if ("AdvOut", "RecFormat2") in files.parameters else (),
    )


def held_by(read: Mapping[str, Any], files: ProfileFiles) -> Held:
    """By a director's answer to `read`, and the files of that OBS's profile."""
    return Held(
        studio=read["studio"],
        profile=read["profile"],
        collection=read["collection"],
        parameters={
            (section, key): (row["value"], row["default"])
            for section, rows in read["parameters"].items()
            for key, row in rows.items()
        },
        more=_more(files),
        encoders=read["encoders"],
        service=read["service"],
        active=frozenset(read["active"]),
        version=version_of(read["obs_version"]),
    )


def _more(files: ProfileFiles) -> dict[Parameter, str]:
    """What a basic.ini sets and is not asked for: without what OBS writes there by itself."""
    return {key: value for key, value in files.parameters.items() if key not in DEFAULTS and WRITTEN.get(key) != value}
