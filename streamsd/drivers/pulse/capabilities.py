"""What this host has for sound, and what to install for what is missing."""

from __future__ import annotations

PACKAGES = {"pulseaudio": "pulseaudio", "pactl": "pulseaudio-utils", "paplay": "pulseaudio-utils"}
"""Program to Debian package."""
