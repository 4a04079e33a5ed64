"""What this host has for X displays: programs, and what to install for missing ones."""

from __future__ import annotations

PACKAGES = {"Xvfb": "xvfb", "xrandr": "x11-xserver-utils", "xdpyinfo": "x11-utils"}
"""Program to Debian package."""
