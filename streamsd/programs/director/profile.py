"""Comparing the profile: video, parameters, stream service; and which running outputs a difference concerns."""

from __future__ import annotations

from collections.abc import Iterator

from streamsd.core.report import JsonValue
from streamsd.programs.director.changes import ALL_OUTPUTS, Change, Cost, OutputName, Phase
from streamsd.programs.director.client import Request
from streamsd.programs.director.model import Desired, Settings, Studio
from streamsd.programs.director.same import different_settings, same

_RECORDING = frozenset({OutputName.RECORD, OutputName.REPLAY_BUFFER})
_STREAM = frozenset({OutputName.STREAM})

_RELOADING = frozenset(
    {
        ("Output", "Mode"),
        ("SimpleOutput", "StreamEncoder"),
        ("SimpleOutput", "RecEncoder"),
        ("SimpleOutput", "RecQuality"),
        ("SimpleOutput", "RecFormat2"),  # OBS 32 else goes on in its default, hybrid MP4, whatever the file's name says
        ("SimpleOutput", "RecRB"),
    }
)


def reloads(section: str, name: str) -> bool:
    """Whether OBS takes a parameter only when it reads the profile anew: its outputs are made then."""
    return (section, name) in _RELOADING or section == "AdvOut"


def profile_changes(desired: Desired, found: Studio) -> Iterator[Change]:
    """Every difference of the profile, each with the outputs that must not run while it is set: OBS refuses it then
    (video, service) or goes on with the old value (parameters)."""
    studio = desired.studio
    for (section, name), value in studio.parameters.items():
        if found.parameters.get((section, name)) != value:
            data = {"parameterCategory": section, "parameterName": name, "parameterValue": value}
            yield Change(
                Phase.PROFILE,
                f"profile {section}/{name}",
                f"set {value}",
                (Request("SetProfileParameter", data),),
                Cost.PROFILE_RELOAD if reloads(section, name) else Cost.OUTPUTS_STOPPED,
                outputs_of_parameter(section, name),
            )
    video = studio.video
    if video is not None and video != found.video:
        words = (
            f"{video.base_width}x{video.base_height} to {video.output_width}x{video.output_height}, "
            f"{video.fps_numerator}/{video.fps_denominator} fps"
        )
        request = Request.of(
            "SetVideoSettings",
            baseWidth=video.base_width,
            baseHeight=video.base_height,
            outputWidth=video.output_width,
            outputHeight=video.output_height,
            fpsNumerator=video.fps_numerator,
            fpsDenominator=video.fps_denominator,
        )
        yield Change(Phase.VIDEO, "video", words, (request,), Cost.OUTPUTS_STOPPED, ALL_OUTPUTS)
    service = studio.service
    if service is not None:
        there = found.service
        have = there.settings if there is not None and there.type == service.type else {}
        if not have or different_settings(service.settings, have, {})[0]:
            request = Request.of(
                "SetStreamServiceSettings",
                streamServiceType=service.type,
                streamServiceSettings=dict(service.settings),
            )
            yield Change(Phase.SERVICE, "stream service", "set", (request,), Cost.OUTPUTS_STOPPED, _STREAM)


def encoder_changes(name: str, settings: Settings, found: JsonValue) -> Iterator[Change]:
    """The advanced mode's encoder settings against those in the profile's file of that name."""
    if not same(dict(settings), found):
        about = {"streamEncoder": "stream encoder", "recordEncoder": "recording's encoder"}.get(name, name)
        yield Change(
            Phase.PROFILE,
            about,
            f"set {', '.join(sorted(settings))}",
            cost=Cost.PROFILE_RELOAD,
            stops=_RECORDING if name == "recordEncoder" else ALL_OUTPUTS - {OutputName.VIRTUAL_CAMERA},
        )


def outputs_of_parameter(section: str, name: str) -> frozenset[OutputName]:
    """The outputs that read a parameter of the profile when they start."""
    if name == "RecFormat2":
        return ALL_OUTPUTS  # a format may take another output, and OBS makes its outputs only while none runs
    if section in ("SimpleOutput", "AdvOut", "Output") and (
        name.startswith(("Rec", "FilenameFormatting", "OverwriteIfExists")) or name == "FilePath"
    ):
        return _RECORDING
    if section == "Output" and name in ("Reconnect", "RetryDelay", "MaxRetries", "DelayEnable", "DelaySec"):
        return _STREAM
    return ALL_OUTPUTS - {OutputName.VIRTUAL_CAMERA}
