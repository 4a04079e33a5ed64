"""Finding an app's program, and what to install when it is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from streamsd.core.kind import Context, Resource
from streamsd.core.secret import Secret
from streamsd.kinds.app.spec import AppSpec

_PACKAGES = {
    "x11-apps": ("xclock", "xeyes", "xlogo", "xcalc", "xload", "oclock", "xedit", "x11perf"),
    "x11-utils": ("xev", "xmessage", "xfd", "xconsole"),
    "x11-xserver-utils": ("xsetroot", "xrandr", "xset"),
    "mesa-utils": ("glxgears", "glxinfo"),
    "firefox-esr": ("firefox", "firefox-esr"),
    "imagemagick": ("display", "convert", "import"),
    "i3-wm": ("i3",),
    "pulseaudio-utils": ("paplay", "pacat", "parec", "pactl"),
    "python3": ("python3",),
}
_PACKAGE_OF = {program: package for package, programs in _PACKAGES.items() for program in programs} | {
    name: name
    for name in (
        *("xterm", "openbox", "fluxbox", "matchbox-window-manager", "twm", "xfwm4", "chromium", "mpv", "vlc", "feh"),
        *("xdotool", "x11vnc", "unclutter", "conky", "ffmpeg", "zathura", "hsetroot", "xcompmgr", "picom", "sox"),
    )
}


def install_hint(program: str) -> str:
    """What to install for a missing program, or how else to go on."""
    package = _PACKAGE_OF.get(program)
    return f"apt install {package}" if package else "install it, or give its absolute path"


def find(word: str, resource: Resource[AppSpec], context: Context) -> Path | None:
    """The program that a command's first word names; None when there is none that can be executed."""
    if "/" in word:
        path = resource.base.absolute() / word
        # os.path: Path.is_file raises for a name too long, or in a place that is another user's
        return path if os.path.isfile(path) and os.access(path, os.X_OK) else None  # noqa: PTH113
    search = resource.spec.env.get("PATH")
    if isinstance(search, str):
        found = shutil.which(word, path=search)
        return Path(found) if found else None
    return context.program(word)


def text(value: str | int | Secret) -> str | Secret:
    """An environment value as the process gets it."""
    return str(value) if isinstance(value, int) else value
