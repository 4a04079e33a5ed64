"""The watcher and real files: however they are saved, the last content is what is read in the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from streamsd.daemon.watcher import Watcher
from streamsd.testing.scenario import until

PATIENCE = 60.0


class Reader:
    """Reads the file when it is told to, as an apply does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: list[str] = []
        self.others: tuple[Path, ...] = ()
        self.while_reading: Callable[[], None] = lambda: None
        self.watcher = Watcher(self.changed)

    async def changed(self) -> None:
        with contextlib.suppress(OSError):
            text = self.path.read_text()
            self.while_reading()
            self.read.append(text)
        self.watcher.watch([self.path, *self.others])

    async def reads(self, text: str) -> None:
        await until(lambda: self.read[-1:] == [text], PATIENCE)


@contextlib.asynccontextmanager
async def watching(path: Path, *others: Path) -> AsyncIterator[Reader]:
    reader = Reader(path)
    reader.others = others
    await reader.changed()
    task = asyncio.get_running_loop().create_task(reader.watcher.run())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def renamed(path: Path, text: str) -> None:
    """As most editors, and `install`."""
    part = path.with_name(".new")
    part.write_text(text)
    part.replace(path)


def as_vim(path: Path, text: str) -> None:
    """vim with backupcopy=no: the old file is renamed away, a new one written, the old one removed."""
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


def truncated(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("save", [truncated, renamed, as_vim])
async def test_every_save_is_seen_not_only_the_first(tmp_path: Path, save: Callable[[Path, str], None]) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text("0")
    async with watching(path) as reader:
        for number in range(1, 4):
            save(path, str(number))
            await reader.reads(str(number))


async def test_a_swapped_link_in_a_directory_above(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: profile.yaml -> ..data/profile.yaml, ..data -> a directory of its own."""
    for number in range(3):
        (tmp_path / f"v{number}").mkdir()
        (tmp_path / f"v{number}" / "profile.yaml").write_text(str(number))
    (tmp_path / "..data").symlink_to("v0")
    path = tmp_path / "profile.yaml"
    path.symlink_to("..data/profile.yaml")
    async with watching(path) as reader:
        for number in (1, 2):
            (tmp_path / "..new").symlink_to(f"v{number}")
            os.replace(tmp_path / "..new", tmp_path / "..data")
            await reader.reads(str(number))


async def test_a_burst_ends_in_the_last_content(tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text("----")
    async with watching(path) as reader:
        for number in range(300):
            (truncated if number % 2 else renamed)(path, f"{number:04}")  # all of one size
            if number % 50 == 0:
                await asyncio.sleep(0)
        await reader.reads("0299")
        assert len(reader.read) < 100, "a burst is not read once a write"


async def test_a_save_during_the_reading_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text("first")
    async with watching(path) as reader:

        def saved_meanwhile() -> None:
            reader.while_reading = lambda: None
            path.write_text("third")

        reader.while_reading = saved_meanwhile
        path.write_text("second")
        await reader.reads("third")
        assert "second" in reader.read


async def test_a_save_during_the_very_first_reading_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text("first")
    reader = Reader(path)
    reader.while_reading = lambda: path.write_text("second") and None
    await reader.changed()
    reader.while_reading = lambda: None
    task = asyncio.get_running_loop().create_task(reader.watcher.run())
    await reader.reads("second")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_files_that_come_go_and_are_named_later(tmp_path: Path) -> None:
    path, other = tmp_path / "profile.yaml", tmp_path / "more" / "included.yaml"
    path.write_text("0")
    async with watching(path) as reader:
        path.unlink()
        path.write_text("back")
        await reader.reads("back")
        reader.others = (other,)
        path.write_text("names another")
        await reader.reads("names another")
        seen = len(reader.read)
        other.parent.mkdir()
        other.write_text("here")
        await until(lambda: len(reader.read) > seen, PATIENCE)


async def test_a_directory_counts_by_what_is_in_it(tmp_path: Path) -> None:
    path, directory = tmp_path / "profile.yaml", tmp_path / "profile.d"
    path.write_text("0")
    directory.mkdir()
    async with watching(path, directory) as reader:
        await until(lambda: len(reader.read) > 1, PATIENCE)  # new files count as changed once
        seen = len(reader.read)
        (directory / "a.yaml").write_text("a")
        await until(lambda: len(reader.read) > seen, PATIENCE)


async def test_what_says_the_same_as_before_is_no_change(tmp_path: Path) -> None:
    path, beside = tmp_path / "profile.yaml", tmp_path / "beside"
    path.write_text("same")
    async with watching(path) as reader:
        await until(lambda: len(reader.read) == 2, PATIENCE)
        for _ in range(3):
            beside.write_text("somebody else's")
            path.touch()
            renamed(path, "same")
        path.write_text("other")
        await reader.reads("other")
        assert reader.read == ["same", "same", "other"]


async def test_what_is_named_and_cannot_be_watched_harms_nothing(tmp_path: Path) -> None:
    """An include may name anything: a pipe would hold the daemon up, a device fill its memory, a long name end it."""
    path, pipe = tmp_path / "profile.yaml", tmp_path / "pipe"
    path.write_text("0")
    os.mkfifo(pipe)
    odd = (pipe, Path("/dev/zero"), tmp_path / ("x" * 300), tmp_path / "a\0b", path / "below")
    async with watching(path, *odd) as reader:
        for number in range(1, 3):
            renamed(path, str(number))
            await reader.reads(str(number))
