"""From where a window is to what OBS's capture of the display leaves out. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """A window to follow, and how many pixels of its own edges to leave out: left, right, top, bottom."""

    display: str
    title: str | None
    wm_class: str | None
    cut: tuple[int, int, int, int]

    @property
    def words(self) -> str:
        given = (("title", self.title), ("class", self.wm_class))
        return " and ".join(f"{what} {text!r}" for what, text in given if text)


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of a screen, in pixels from its upper left corner. A window's may lie outside."""

    x: int
    y: int
    width: int
    height: int


def read_wanted(path: Path) -> Mapping[str, Wanted]:
    """Windows by the name of their input. OSError, or ValueError when it is no such file."""
    data: Any = json.loads(path.read_text())
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"not a file of windows of version {VERSION}")
    return {
        name: Wanted(row["display"], row.get("title"), row.get("class"), (*row["cut"],))
        for name, row in data["windows"].items()
    }


def cut_out(window: Area, screen: tuple[int, int], edges: tuple[int, int, int, int]) -> Mapping[str, int] | None:
    """The settings of OBS's xshm_input that leave only the window, where it is on the screen; None when it is not."""
    width, height = screen
    left, top = max(0, window.x + edges[0]), max(0, window.y + edges[2])
    right = min(width, window.x + window.width - edges[1])
    bottom = min(height, window.y + window.height - edges[3])
    if right - left < 1 or bottom - top < 1:
        return None
    return {"cut_left": left, "cut_right": width - right, "cut_top": top, "cut_bot": height - bottom}
