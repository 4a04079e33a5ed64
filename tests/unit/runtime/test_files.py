"""A unit's files: made whole, private, and never through somebody's link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from streamsd.core.address import Address, UnitId
from streamsd.core.runtime import RuntimeFault
from streamsd.core.secret import Secret
from streamsd.core.unit import File, Unit
from streamsd.runtime.files import make_passable, prepare

ID = UnitId(Address("App", "clock"), "main")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    run = tmp_path / "run"
    unit = Unit(
        ID,
        ("/bin/true",),
        directories=(run / "a" / "b",),
        files=(File(run / "a" / "b" / "key", Secret("s")), File(run / "c" / "hook", "#!", executable=True)),
    )
    for umask in (0o000, 0o777):
        old = os.umask(umask)
        try:
            prepare(unit, run)
        finally:
            os.umask(old)
        assert mode(run / "a" / "b") == mode(run / "c") == mode(run / "c" / "hook") == 0o700
        assert mode(run / "a") == 0o711
        assert mode(run / "a" / "b" / "key") == 0o600
        assert (run / "a" / "b" / "key").read_text() == "s"
        assert [p.name for p in (run / "a" / "b").iterdir()] == ["key"]


def test_a_file_that_is_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "key").symlink_to(target)
    prepare(Unit(ID, ("/bin/true",), files=(File(tmp_path / "key", "new"),)), tmp_path)
    assert target.read_text() == "precious"
    assert not (tmp_path / "key").is_symlink()
    assert (tmp_path / "key").read_text() == "new"


def test_somebody_elses_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    outside, inside = tmp_path / "videos", tmp_path / "run" / "mine"
    for directory in (outside, inside):
        directory.mkdir(parents=True)
        directory.chmod(0o755)
    prepare(Unit(ID, ("/bin/true",), directories=(outside, inside)), tmp_path / "run")
    assert mode(outside) == 0o755
    assert mode(inside) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes where others own")
def test_a_link_in_somebody_elses_directory_is_not_followed(tmp_path: Path) -> None:
    theirs, target = tmp_path / "theirs", tmp_path / "etc"
    theirs.mkdir()
    target.mkdir()
    os.chown(theirs, 65534, 65534)
    (theirs / "conf").symlink_to(target)
    with pytest.raises(RuntimeFault) as refused:
        prepare(Unit(ID, ("/bin/true",), files=(File(theirs / "conf" / "x", "text"),)), tmp_path)
    assert refused.value.reason == "FilesFailed"
    assert list(target.iterdir()) == []


def test_a_path_in_the_way_is_a_typed_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeFault, match="cannot make") as refused:
        prepare(Unit(ID, ("/bin/true",), directories=(tmp_path / "file" / "x",)), tmp_path)
    assert refused.value.reason == "FilesFailed"


def test_the_run_directory_lets_others_through_but_not_look(tmp_path: Path) -> None:
    make_passable(tmp_path / "run")
    assert mode(tmp_path / "run") == 0o711
