"""What is kept of a profile's files, to fall back on."""

from __future__ import annotations

from pathlib import Path

from streamsd.document.load import load
from streamsd.kinds import load_kinds


def test_the_files_of_a_profile_are_kept_as_they_were_read_and_secrets_are_not(tmp_path: Path) -> None:
    (tmp_path / "word.yaml").write_text("hunter2")
    (tmp_path / "word.yaml").chmod(0o600)
    (tmp_path / "more.yaml").write_text("apps: {two: {command: [sleep, '2']}}\n")
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        "version: 1\ninclude: [more.yaml]\napps: {one: {command: [sleep, '1'], env: {A: '${secret:file:word.yaml}'}}}\n"
    )
    loaded = load(profile, load_kinds(), host="h", environ={})
    assert loaded.valid, loaded.diagnostics
    assert loaded.documents == {path: path.read_bytes() for path in (profile, tmp_path / "more.yaml")}
    profile.write_text("version: 1\n")
    again = load(profile, load_kinds(), host="h", environ={}, files_as_of=loaded.documents)
    assert again.resources.keys() == loaded.resources.keys()
