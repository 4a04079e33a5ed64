"""From an instance's settings to the launcher's document: OBS's command line and its configuration files. Pure.

Both forms of the configuration are written, the one of OBS 29 (obs-websocket in global.ini) and the newer one
(plugin_config/obs-websocket/config.json, user.ini from 31 on): each OBS reads its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamsd.core.report import JsonValue

PLACEHOLDER = "@password@"
"""The launcher puts the websocket's password here (streamsd.programs.obs_launch.files)."""

PARK = "streamsd-park"
"""The collection and the profile that the director parks OBS in (streamsd.programs.director.reconcile)."""

_LAST_VERSION = 29 << 24 | 2
"""A version that OBS is told it ran as before: any that is not 0 keeps the wizard away."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What is set before OBS starts; all else is set by the director while it runs. `home`: the private directory
    under which it keeps everything. `channels`: as OBS names them, such as Stereo."""

    program: Path
    version: tuple[int, ...]
    home: Path
    port: int
    profile: str
    collection: str
    sample_rate: int
    channels: str

    @property
    def config(self) -> Path:
        """OBS's own configuration directory."""
        return self.home / "config" / "obs-studio"

    @property
    def scenes(self) -> Path:
        return self.config / "basic" / "scenes"


def launch_document(instance: Instance, password_file: Path, complaint: Path) -> str:
    """What `streamsd.programs.obs_launch` reads. Holds no secret. `complaint`: where the director says that OBS
    hangs."""
    start = _start(instance)
    return json.dumps(
        {
            "argv": argv(instance),
            "config": str(instance.config),
            "password_file": str(password_file),
            "complaint": str(complaint),
            "port": instance.port,
            "ini": {"global.ini": start, "user.ini": start, **_profiles(instance)},
            "json": {"plugin_config/obs-websocket/config.json": _websocket(instance)},
            "once": {f"basic/scenes/{PARK}.json": json.dumps(_park())},
        }
    )


def start_document(instance: Instance) -> str:
    """The part of the launcher's document that OBS can also be brought to while it runs: what it starts with."""
    begin = {"Basic": {"SceneCollection": instance.collection, "SceneCollectionFile": instance.collection}}
    return json.dumps({"ini": {"global.ini": begin, "user.ini": begin}})


def argv(instance: Instance) -> list[str]:
    """Flags by version: the check for an unclean shutdown, which asks in a dialog, came with 30 and its flag went
    with 32."""
    flags = ["--multi", "--disable-missing-files-check"]
    if (30,) <= instance.version < (32,):
        flags.append("--disable-shutdown-check")
    return [str(instance.program), *flags]


def environment(home: Path, runtime: Path) -> dict[str, str]:
    """What keeps an instance to itself. Without a DBUS address of its own OBS leaks a dbus-daemon."""
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_RUNTIME_DIR": str(runtime),
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "QT_QPA_PLATFORM": "xcb",
    }


def version_of(text: str) -> tuple[int, ...]:
    """The version in what `obs --version` prints; empty when there is none."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


def _start(instance: Instance) -> Mapping[str, Mapping[str, str]]:
    return {
        "General": {
            "FirstRun": "true",
            "LastVersion": str(_LAST_VERSION),
            "Pre19Defaults": "false",
            "Pre21Defaults": "false",
            "Pre23Defaults": "false",
            "Pre24.1Defaults": "false",
            # OBS 31 would make user.ini of global.ini, and where there is one already it says so in a dialog.
            "Pre31Migrated": "true",
            "ConfirmOnExit": "false",
            "EnableAutoUpdates": "false",
        },
        "Basic": {
            "Profile": instance.profile,
            "ProfileDir": instance.profile,
        },
        "BasicWindow": {"SysTrayEnabled": "false", "PreviewEnabled": "false"},
        "OBSWebSocket": {
            "FirstLoad": "false",
            "ServerEnabled": "true",
            "ServerPort": str(instance.port),
            "AlertsEnabled": "false",
            "AuthRequired": "true",
            "ServerPassword": PLACEHOLDER,
        },
    }


def _park() -> Mapping[str, JsonValue]:
    """A collection with one scene: OBS aborts when it switches to one that has none."""
    scene: dict[str, JsonValue] = {"id": "scene", "name": PARK, "settings": {"items": [], "id_counter": 0}}
    return {
        "name": PARK,
        "current_scene": PARK,
        "current_program_scene": PARK,
        "scene_order": [{"name": PARK}],
        "sources": [scene],
        "groups": [],
        "transitions": [],
        "transition_duration": 300,
    }


def _websocket(instance: Instance) -> Mapping[str, JsonValue]:
    return {
        "first_load": False,
        "server_enabled": True,
        "server_port": instance.port,
        "alerts_enabled": False,
        "auth_required": True,
        "server_password": PLACEHOLDER,
    }


def _profiles(instance: Instance) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Both profiles have the same audio: OBS asks in a dialog whether to restart when a switch changes it."""
    audio = {"SampleRate": str(instance.sample_rate), "ChannelSetup": instance.channels}
    return {
        f"basic/profiles/{name}/basic.ini": {"General": {"Name": name}, "Audio": audio}
        for name in (instance.profile, PARK)
    }
