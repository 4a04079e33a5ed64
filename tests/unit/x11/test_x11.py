"""The X11 driver's pure parts: cookies, files, command lines, sizes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from streamsd.core.secret import Secret
from streamsd.core.units import Resolution
from streamsd.drivers.cookies import stable_cookie
from streamsd.drivers.x11.authority import authority_file
from streamsd.drivers.x11.randr import Size
from streamsd.drivers.x11.render import xvfb
from streamsd.runtime.probes.xwindows import Window
from streamsd.runtime.probes.xwire import COOKIE, display_number, read_cookie

HEX = "00ff10" + "a5" * 13


def test_the_command_line_lets_nobody_in_from_outside() -> None:
    assert xvfb(Path("/usr/bin/Xvfb"), ":7", Path("/run/a"), Resolution(3840, 2160)) == (
        "/usr/bin/Xvfb",
        *(":7", "-screen", "0", "3840x2160x24", "-auth", "/run/a", "-nolisten", "tcp", "-noreset"),
    )


def test_the_cookie_file_holds_every_byte_of_the_cookie(tmp_path: Path) -> None:
    file = authority_file(tmp_path / "a", Secret(HEX))
    assert HEX not in repr(file)
    file.path.write_bytes(file.data())
    assert read_cookie(file.path, 7) == bytes.fromhex(HEX)


def _entry(display: bytes, name: bytes, data: bytes) -> bytes:
    return b"\x01\x00" + b"".join(struct.pack(">H", len(f)) + f for f in (b"host", display, name, data))


def test_the_entry_of_the_display_is_found_among_others(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(_entry(b"1", COOKIE, b"one") + _entry(b"2", b"XDM", b"no") + _entry(b"2", COOKIE, b"two"))
    assert [read_cookie(path, n) for n in (1, 2, 3)] == [b"one", b"two", None]
    for cut in range(1, len(_entry(b"1", COOKIE, b"one"))):
        path.write_bytes(_entry(b"1", COOKIE, b"one")[:-cut])
        with pytest.raises(ValueError, match="not an Xauthority file"):
            read_cookie(path, 1)


def test_a_cookie_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "display"
    cookie = stable_cookie(directory)
    assert stable_cookie(directory) == cookie
    assert stable_cookie(tmp_path / "other") != cookie
    assert [path.name for path in directory.iterdir()] == ["cookie"]
    assert (directory / "cookie").stat().st_mode & 0o777 == 0o600
    (directory / "cookie").write_text("half")
    assert len(stable_cookie(directory).reveal()) == 32


@pytest.mark.parametrize(("display", "number"), [(":7", 7), (":7.0", 7), (":0", 0)])
def test_displays_of_this_host_have_a_number(display: str, number: int) -> None:
    assert display_number(display) == number


@pytest.mark.parametrize("display", ["", "7", "host:7", ":x", ":7 "])
def test_others_do_not(display: str) -> None:
    with pytest.raises(ValueError, match="not a display"):
        display_number(display)


def test_a_size_says_its_density_in_millimetres() -> None:
    assert Size.at(Resolution(1920, 1080), 96).millimetres == "508x286"
    assert Size.at(Resolution(1, 1), 1200).millimetres == "1x1"


def test_a_window_is_found_by_part_of_its_title_and_by_class_or_instance() -> None:
    window = Window(1, "Mail - Browser", "Navigator", "firefox", 0, 0, 10, 10)
    assert window.fits(None, None)
    assert window.fits("mail", None)
    assert window.fits(None, "navigator")
    assert window.fits("browser", "Firefox")
    assert not window.fits("browser", "chromium")
    assert not window.fits("clock", None)
