"""The directory of an OBS profile (`basic/profiles/NAME`), as OBS writes it: what is set, encoders, stream service."""

from __future__ import annotations

import configparser
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamsd.core.secret import Secret
from streamsd.drivers.obs.render import PARK

Json = dict[str, Any]

_SECRETS = ("key", "password", "bearer_token")
_COMMON_RATES = {"24 NTSC": (24000, 1001), "29.97": (30000, 1001), "59.94": (60000, 1001)}
"""Names of NTSC's rates in OBS's list; the others are numbers."""


@dataclass(frozen=True)
class ProfileFiles:
    """`parameters`: what basic.ini sets, by (section, name). `service`: its type, settings without secrets, and the
    secrets by name."""

    name: str
    parameters: Mapping[tuple[str, str], str] = field(default_factory=dict)
    encoders: Mapping[str, Json] = field(default_factory=dict)
    service: Json | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def video(self) -> dict[str, int] | None:
        """Canvas, output and rate, as obs-websocket names them; None where they are not all set."""
        try:
            sizes = [int(self.parameters["Video", key]) for key in ("BaseCX", "BaseCY", "OutputCX", "OutputCY")]
        except (KeyError, ValueError):
            return None
        numerator, denominator = self._rate()
        names = ("base_width", "base_height", "output_width", "output_height")
        return dict(zip(names, sizes, strict=True)) | {"fps_numerator": numerator, "fps_denominator": denominator}

    def _rate(self) -> tuple[int, int]:
        """OBS's three ways to say it (UI/window-basic-main.cpp, GetConfigFPS)."""
        video = {name: value for (section, name), value in self.parameters.items() if section == "Video"}
        try:
            match video.get("FPSType", "0"):
                case "1":
                    return int(video.get("FPSInt", "30")), 1
                case "2":
                    return int(video.get("FPSNum", "30")), int(video.get("FPSDen", "1"))
                case _:
                    common = video.get("FPSCommon", "30")
                    return _COMMON_RATES.get(common) or (int(common), 1)
        except ValueError:
            return 30, 1


def read_profile(directory: Path) -> ProfileFiles:
    """OSError when there is no basic.ini, ValueError when it or a file beside it is damaged."""
    ini = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=False, allow_no_value=True)
    ini.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case; how its own docs say it
    try:
        ini.read_string((directory / "basic.ini").read_text())
    except configparser.Error as fault:
        raise ValueError(f"{directory / 'basic.ini'}: {fault.message}") from None
    parameters = {(s, name): value or "" for s in ini.sections() for name, value in ini.items(s)}
    encoders = {name: _json(directory / f"{name}.json") for name in ("streamEncoder", "recordEncoder")}
    service = _json(directory / "service.json")
    settings: Json = (service or {}).get("settings") or {}
    return ProfileFiles(
        name=parameters.get(("General", "Name"), directory.name),
        parameters=parameters,
        encoders={name: found for name, found in encoders.items() if found is not None},
        service=None
        if service is None
        else {
            "type": str(service.get("type")),
            "settings": {key: value for key, value in settings.items() if key not in _SECRETS},
            "secrets": [key for key in _SECRETS if settings.get(key)],
        },
        secrets={key: Secret(str(settings[key])) for key in _SECRETS if settings.get(key)},
    )


def profile_beside(collection: Path) -> Path | None:
    """The profile that belongs to a collection's file in `basic/scenes`: the loaded one, else the only one. None where
    that cannot be told."""
    basic = collection.absolute().parent.parent
    found = sorted(ini.parent for ini in (basic / "profiles").glob("*/basic.ini") if ini.parent.name != PARK)
    for name in ("user.ini", "global.ini"):
        try:
            text = (basic.parent / name).read_text()
        except OSError:
            continue
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "ProfileDir" and basic / "profiles" / value.strip() in found:
                return basic / "profiles" / value.strip()
    return found[0] if len(found) == 1 else None


def _json(path: Path) -> Json | None:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise ValueError(f"{path}: not JSON") from None
    return found if isinstance(found, dict) else None
