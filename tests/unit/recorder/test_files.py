"""Names, retention and faults of recordings."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from streamsd.programs.recorder.faults import Trouble, trouble_of
from streamsd.programs.recorder.pattern import Pattern
from streamsd.programs.recorder.retention import Recording, Retention, recordings, remove


@pytest.mark.parametrize(
    ("text", "file", "root"),
    [
        ("/r/%Y-%m-%d", "/r/%Y-%m-%d/%H-%M-%S.mkv", "/r"),
        ("/r/a/", "/r/a/%H-%M-%S.mkv", "/r/a"),
        ("/r/%Y/cam-%s.mkv", "/r/%Y/cam-%s.mkv", "/r"),
        ("/r/cam-%s.mkv", "/r/cam-%s.mkv", "/r"),
        ("/r/fixed.mkv", "/r/fixed.mkv", "/r"),
    ],
)
def test_a_path_is_a_directory_or_a_file(text: str, file: str, root: str) -> None:
    pattern = Pattern(text)
    assert (pattern.file, str(pattern.root)) == (file, root)


def test_only_our_own_files_are_found(tmp_path: Path) -> None:
    pattern = Pattern(f"{tmp_path}/%Y-%m-%d")
    ours = [tmp_path / "2026-01-02" / name for name in ("10-00-00.mkv", "10-00-00-2.mkv")]
    others = [
        tmp_path / "2026-01-02" / "10-00-00.txt",
        tmp_path / "2026-01-02" / "notes.mkv",
        tmp_path / "2026-01-02" / "deep" / "10-00-00.mkv",
        tmp_path / "other" / "10-00-00.mkv",
        tmp_path / "10-00-00.mkv",
        tmp_path / ".partial" / "10-00-00.mkv",
    ]
    for path in (*ours, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "2026-01-03").symlink_to(tmp_path / "2026-01-02")
    assert sorted(pattern.files()) == sorted(ours)
    assert Pattern(f"{tmp_path}/gone/%s").files() == []


def test_a_name_is_never_given_twice(tmp_path: Path) -> None:
    pattern = Pattern(f"{tmp_path}/%s.mkv")
    assert pattern.free_name(5).name == "5.mkv"
    (tmp_path / "5.mkv").touch()
    (tmp_path / "5-2.mkv").touch()
    assert pattern.free_name(5).name == "5-3.mkv"
    assert pattern.name(5).parent == tmp_path


def kept(retention: Retention, *sizes_and_ends: tuple[int, float]) -> list[str]:
    all_ = [Recording(Path(f"/{n}"), end, size) for n, (size, end) in enumerate(sizes_and_ends)]
    gone = retention.expired(all_, now=1000.0)
    return [r.path.name for r in all_ if r not in gone]


def test_what_is_kept() -> None:
    files = ((10, 100.0), (10, 600.0), (10, 900.0), (10, 990.0))
    assert kept(Retention(), *files) == ["0", "1", "2", "3"]
    assert kept(Retention(seconds=450), *files) == ["1", "2", "3"]
    assert kept(Retention(bytes=25), *files) == ["2", "3"]
    assert kept(Retention(seconds=50, bytes=1000), *files) == ["3"]
    assert kept(Retention(seconds=1, bytes=1), *files) == ["3"], "the newest always stays"


def test_directories_that_became_empty_go_too(tmp_path: Path) -> None:
    root = tmp_path / "r"
    old, new = root / "2025" / "01" / "a.mkv", root / "2026" / "01" / "a.mkv"
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.touch()
    remove(recordings([old]), root)
    assert not (root / "2025").exists()
    assert new.exists()
    remove(recordings([new]), root)
    assert root.exists()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "DiskFull"),
        (errno.EDQUOT, "DiskFull"),
        (errno.ENOENT, "DirectoryMissing"),
        (errno.EACCES, "NotWritable"),
        (errno.EROFS, "NotWritable"),
        (errno.EIO, "DiskFailed"),
    ],
)
def test_a_fault_has_one_name_however_it_is_told(number: int, reason: str) -> None:
    root = Path("/r")
    assert Trouble.of(OSError(number, "x"), root).reason == reason
    said = [f"[out#0/segment @ 0x1] Error muxing a packet: {os.strerror(number)}"]
    assert trouble_of(said, root).reason == reason
