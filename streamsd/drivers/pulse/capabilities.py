"""What this host has for sound, and what to install for what is missing."""

from __future__ import annotations

PACKAGES = {"pulseaudio": "pulseaudio", "pactl": "pulseaudio-utils", "paplay": "pulseaudio-utils"}
"""Program to Debian package."""

LONGEST_SOCKET_PATH = 107
"""Bytes; sun_path of unix(7) is 108 with its NUL."""
