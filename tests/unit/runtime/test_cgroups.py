"""Where control groups are looked for, on the layouts that are met."""

from __future__ import annotations

import json
from pathlib import Path

from streamsd.runtime.cgroups import (
    Cgroups,
    Mode,
    Mounts,
    Place,
    open_cgroups,
    remember_bases,
    remembered_bases,
)

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 23 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 23 0:30 / /home/a\\040b rw - ext4 /dev/sda1 rw
"""


def test_v2_is_one_hierarchy() -> None:
    mounts = Mounts.read(V2, "0::/system.slice/streamsd.service\n")
    assert mounts.unified == Path("/sys/fs/cgroup")
    assert mounts.unified_own == Path("/sys/fs/cgroup/system.slice/streamsd.service")
    assert mounts.v1 == {}


def test_hybrid_has_controllers_in_v1_and_a_tree_in_v2() -> None:
    mounts = Mounts.read(HYBRID, "4:memory:/box\n3:cpu,cpuacct:/\n2:name=systemd:/\n0::/box\n")
    assert mounts.unified_own == Path("/sys/fs/cgroup/unified/box")
    assert mounts.v1["memory"] == Path("/sys/fs/cgroup/memory/box")
    assert mounts.v1["cpu"] == Path("/sys/fs/cgroup/cpu,cpuacct")


def test_a_container_sees_its_part_of_a_hierarchy_as_the_whole() -> None:
    mounts = Mounts.read(
        "30 23 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "4:memory:/docker/abc/inner\n"
    )
    assert mounts.v1["memory"] == Path("/sys/fs/cgroup/memory/inner")


def test_without_hierarchies_or_permission_there_are_none(tmp_path: Path) -> None:
    assert open_cgroups("abc", Mounts(None, None, {})) == Cgroups(Mode.NONE)
    missing = tmp_path / "missing"
    assert open_cgroups("abc", Mounts(None, None, {"memory": missing, "cpu": missing})) == Cgroups(Mode.NONE)


def test_v2_without_a_controller_still_holds_trees(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    found = open_cgroups("abc", Mounts(tmp_path, tmp_path, {}))
    assert found == Cgroups(Mode.V2, tmp_path / "streamsd-abc", None, None)


def test_a_unit_has_one_group_under_v2(tmp_path: Path) -> None:
    found = Cgroups(Mode.V2, tmp_path, tmp_path, tmp_path)
    place = found.place("App.clock.main", with_cpu=False)
    assert place is not None
    assert place.directories == (tmp_path / "App.clock.main",)
    assert place.entrances == (str(tmp_path / "App.clock.main" / "cgroup.procs"),)
    assert found.with_cpu(place, "App.clock.main") == place
    assert place.remove()
    assert place.remove()


def test_a_unit_joins_the_cpu_group_of_v1_only_where_it_limits(tmp_path: Path) -> None:
    tree, memory, cpu = (tmp_path / name for name in ("unified", "memory", "cpu"))
    for directory in (tree, memory, cpu):
        directory.mkdir()
    found = Cgroups(Mode.HYBRID, tree, memory, cpu)
    place = found.place("App.clock.main", with_cpu=False)
    assert place is not None
    assert place.directories == (tree / "App.clock.main", memory / "App.clock.main")
    assert found.with_cpu(place, "App.clock.main").cpu == cpu / "App.clock.main"


def test_a_limit_rounded_to_pages_is_the_one_asked_for(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert place.memory_limit(None) is None
    place.limit_memory(1_000_001)
    (tmp_path / "memory.max").write_text("999424\n")  # as the kernel keeps it
    assert place.memory_limit(1_000_001) == 1_000_001
    assert place.memory_limit(5_000_000) == 999_424
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert place.cpu_limit(None) is None
    place.limit_cpu(150)
    assert (tmp_path / "cpu.max").read_text() == "150000 100000"
    assert place.cpu_limit(150) == 150


def test_a_limit_that_cannot_be_measured_is_the_one_asked_for(tmp_path: Path) -> None:
    place = Place(tmp_path, None, None)
    assert place.memory_limit(77) == 77
    assert place.cpu_limit(77) == 77
    assert not place.out_of_memory()


def test_only_bases_of_the_instance_are_remembered(tmp_path: Path) -> None:
    base = tmp_path / "streamsd-abc"
    base.mkdir()
    record = tmp_path / "cgroups.json"
    assert remembered_bases(record, "abc") == ()
    remember_bases(record, Cgroups(Mode.HYBRID, base, tmp_path / "streamsd-abc-gone"))
    assert remembered_bases(record, "abc") == (base,)
    record.write_text(json.dumps(["/etc", str(base), 7]))
    assert remembered_bases(record, "abc") == (base,)
    assert remembered_bases(record, "other") == ()
    record.write_text("not json")
    assert remembered_bases(record, "abc") == ()
