"""The kinds Stream and Server: what specs come to, and what a change costs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from streamsd.core.address import Address
from streamsd.core.diagnostics import ProblemsError
from streamsd.core.kind import Compiled, Resource, references_of
from streamsd.core.secret import Secret
from streamsd.core.settings import Settings
from streamsd.core.unit import RestartMode, spec_hash
from streamsd.core.units import Resolution
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.web import WebRoot
from streamsd.drivers.x11 import XDisplay
from streamsd.engine.context import HostContext
from streamsd.kinds.server.kind import KIND as SERVER
from streamsd.kinds.server.spec import ServerSpec
from streamsd.kinds.stream.kind import KIND, StreamExports
from streamsd.kinds.stream.spec import StreamSpec
from streamsd.testing.kinds import said_against

FFMPEG = Path("/opt/ffmpeg")
DISPLAY = XDisplay(":107", Path("/run/x/Xauthority"), Resolution(800, 600), Resolution(1920, 1080), Secret("c"))
DEVICE = PulseDevice("unix:/run/p/native", "music", "music.monitor", Path("/run/p/cookie"), 48_000, 2, Path("/run/p/c"))

SPEC: dict[str, Any] = {
    "video": {"source": {"test": {}}, "bitrate": "1000k"},
    "audio": {"source": {"tone": 440}},
    "destinations": {
        "web": {"hls": {"latency": "low"}},
        "archive": {"record": {"path": "recordings/%Y", "segment": "10m", "keep": "7d"}},
    },
}


@pytest.fixture
def context(tmp_path: Path) -> HostContext:
    settings = Settings(tmp_path / "p", tmp_path / "s", tmp_path / "r", tmp_path / "c")
    made = HostContext(settings, {"ffmpeg": lambda: FFMPEG})
    made.export(Address("Display", "desk"), DISPLAY)
    made.export(Address("Audio", "music"), DEVICE)
    made.export(Address("Server", "web"), WebRoot(tmp_path / "www", "http://127.0.0.1:8088"))
    return made


def spec(changes: dict[str, Any] | None = None) -> StreamSpec:
    """SPEC with values put at dotted paths; None removes."""
    data = copy.deepcopy(SPEC)
    for path, value in (changes or {}).items():
        *way, last = path.split(".")
        at = data
        for name in way:
            at = at.setdefault(name, {})
        if value is None:
            at.pop(last)
        else:
            at[last] = value
    return StreamSpec.model_validate(data)


def compiled(context: HostContext, changes: dict[str, Any] | None = None, base: Path = Path("/profile")) -> Compiled:
    return KIND.compile(Resource(Address("Stream", "desk"), spec(changes), base=base), context)


def hashes(found: Compiled) -> dict[str, str]:
    return {unit.id.role: spec_hash(unit, b"k") for unit in found.units}


@pytest.mark.parametrize(
    ("changes", "roles"),
    [
        ({"description": "x"}, set()),
        ({"video.bitrate": "2M"}, {"encoder"}),
        ({"video.fps": 25}, {"encoder"}),
        ({"video.preset": "veryfast"}, {"encoder"}),
        ({"video.scale": "640x360"}, {"encoder"}),
        ({"video.gop": "500ms"}, {"encoder"}),
        ({"audio.bitrate": "64k"}, {"encoder"}),
        ({"audio": None}, {"encoder"}),
        ({"destinations.archive.record.path": "elsewhere/%Y"}, {"destination.archive"}),
        ({"destinations.archive.record.keep": "1d"}, {"destination.archive"}),
        ({"destinations.web.hls.segment": "4s"}, {"destination.web"}),
        ({"destinations.web": None}, {"destination.web"}),
        ({"destinations.more": {"record": {"path": "more"}}}, {"destination.more"}),
    ],
)
def test_a_change_touches_only_what_it_is_about(context: HostContext, changes: dict[str, Any], roles: set[str]) -> None:
    before, after = hashes(compiled(context)), hashes(compiled(context, changes))
    assert {role for role in before.keys() | after.keys() if before.get(role) != after.get(role)} == roles


def test_the_stream_serves_without_its_destinations(context: HostContext) -> None:
    found = compiled(context)
    assert found.required == {"relay", "encoder"}
    assert [u.id.role for u in found.units] == ["relay", "encoder", "destination.web", "destination.archive"]
    assert all(u.after == ("relay",) for u in found.units[1:])
    assert all(u.follows == () for u in found.units)


def test_a_display_is_captured_at_the_size_it_has_now(context: HostContext) -> None:
    source = {"video.source": {"display": "desk"}}
    argv = compiled(context, source).unit("encoder").argv
    assert argv[argv.index("-video_size") + 1] == "800x600"
    assert ":107.0+0,0" in argv
    assert compiled(context, source).unit("encoder").env == DISPLAY.env
    context.export(
        Address("Display", "desk"),
        XDisplay(":107", DISPLAY.authority, Resolution(1024, 768), DISPLAY.max_resolution, DISPLAY.cookie),
    )
    assert "1024x768" in compiled(context, source).unit("encoder").argv


def test_a_region_is_captured_where_it_is_and_must_lie_on_the_display(context: HostContext) -> None:
    region = {"x": 100, "y": 50, "width": 700, "height": 550}
    argv = compiled(context, {"video.source": {"display": "desk", "region": region}}).unit("encoder").argv
    assert ":107.0+100,50" in argv
    with pytest.raises(ProblemsError) as caught:
        compiled(context, {"video.source": {"display": "desk", "region": {**region, "x": 101}}})
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == ("region-outside", ("video", "source", "region"))


def test_a_window_is_looked_for_when_the_encoder_starts(context: HostContext) -> None:
    argv = compiled(context, {"video.source": {"display": "desk", "window": {"title": "a b", "class": "XTerm"}}})
    words = argv.unit("encoder").argv
    head, tail = words[: words.index("--")], words[words.index("--") + 1 :]
    assert head[-10:-4] == ("-m", "streamsd.programs.x11window", "--display", ":107", "--report", "window.json")
    assert head[-4:] == ("--title", "a b", "--class", "XTerm")
    assert tail[0] == str(FFMPEG)
    assert "{window}" in tail


def test_a_device_is_recorded_from_its_monitor(context: HostContext) -> None:
    unit = compiled(context, {"audio.source": {"device": "music"}}).unit("encoder")
    assert "music.monitor" in unit.argv
    assert unit.env["PULSE_COOKIE"] == "/run/p/cookie"


@pytest.mark.parametrize(("loop", "mode"), [(True, RestartMode.ALWAYS), (False, RestartMode.ON_FAILURE)])
def test_only_a_file_played_once_may_end_well(context: HostContext, loop: bool, mode: RestartMode) -> None:
    found = compiled(context, {"video.source": {"file": "a.mp4", "loop": loop}})
    assert found.unit("encoder").restart.mode is mode
    assert compiled(context).unit("encoder").restart.mode is RestartMode.ALWAYS
    assert "file:/profile/a.mp4" in found.unit("encoder").argv


def test_recordings_are_claimed_and_relative_to_the_profile(context: HostContext) -> None:
    found = compiled(context)
    assert [(c.what, c.which) for c in found.claims] == [("recording-path", "/profile/recordings/%Y")]
    argv = found.unit("destination.archive").argv
    assert argv[argv.index("--keep") + 1] == "604800"


def test_a_recorder_that_hangs_is_replaced(context: HostContext) -> None:
    """Not being ready restarts nothing: a recorder that does not even report is seen by its liveness only."""
    liveness = compiled(context).unit("destination.archive").probes.liveness
    assert liveness is not None
    assert liveness.interval * liveness.failures >= 30


def test_hls_is_written_where_the_server_serves_it(context: HostContext, tmp_path: Path) -> None:
    found = compiled(context)
    assert found.unit("destination.web").directories == (tmp_path / "www/desk/web",)
    assert isinstance(found.exports, StreamExports)
    assert found.exports.urls == {"web": "http://127.0.0.1:8088/desk/web/index.m3u8"}


def published(context: HostContext, **ingest: Any) -> Compiled:
    data = {"source": {"ingest": ingest}, "destinations": SPEC["destinations"]}
    return KIND.compile(Resource(Address("Stream", "desk"), StreamSpec.model_validate(data)), context)


def test_what_is_published_is_taken_in_by_a_process_that_stays(context: HostContext) -> None:
    found = published(context, key="geheim")
    assert found.required == {"relay", "ingest"}
    assert "geheim" not in " ".join(found.unit("ingest").argv)
    assert [f.content for f in found.unit("ingest").files] == [Secret("geheim")]
    assert isinstance(found.exports, StreamExports)
    assert found.exports.ingest is not None
    assert found.exports.ingest.key == Secret("geheim")
    assert published(context).exports == published(context).exports
    other = hashes(published(context, key="another"))
    assert {role for role, digest in hashes(found).items() if other[role] != digest} == {"ingest"}


@pytest.mark.parametrize(
    ("listen", "server"),
    [("127.0.0.1:1935", "rtmp://127.0.0.1:1935/live"), ("0.0.0.0:1935", "rtmp://127.0.0.1:1935/live")],
)
def test_publishers_of_this_host_are_told_where_to(context: HostContext, listen: str, server: str) -> None:
    exports = published(context, listen=listen, key="k").exports
    assert isinstance(exports, StreamExports)
    assert exports.ingest is not None
    assert exports.ingest.server == server


def test_whom_others_reach_needs_a_key(context: HostContext, monkeypatch: pytest.MonkeyPatch) -> None:
    data = StreamSpec.model_validate({"source": {"ingest": {"listen": "0.0.0.0:1935"}}})
    (problem,) = said_against(KIND, Resource(Address("Stream", "desk"), data), context)
    assert (problem.code, problem.path) == ("key-missing", ("source", "ingest", "key"))


def test_references_are_found(context: HostContext) -> None:
    found = spec(
        {"video.source": {"display": "desk"}, "audio.source": {"device": "music"}, "destinations.web.hls.server": "w2"}
    )
    assert {(str(r.target), r.follows) for r in references_of(found)} == {
        ("Display/desk", True),
        ("Audio/music", True),
        ("Server/w2", False),
    }


def test_what_types_cannot_say_is_checked(context: HostContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def problems(changes: dict[str, Any], works: bool = True) -> dict[str, tuple[str | int, ...]]:
        monkeypatch.setattr("streamsd.kinds.stream.kind.encoder_works", lambda program, name: works)
        return {p.code: p.path for p in said_against(KIND, Resource(Address("Stream", "desk"), spec(changes)), context)}

    assert problems({}) == {}
    assert problems({}, works=False) == {"encoder-missing": ("video", "codec")}
    assert problems({"video.scale": "641x360"}) == {"size-odd": ("video", "scale")}
    assert problems({"video.source": {"file": "none.mp4"}}) == {"file-missing": ("video", "source", "file")}
    assert problems({"destinations.web.hls.segment": "500ms"}) == {
        "segment-short": ("destinations", "web", "hls", "segment")
    }
    assert problems({"destinations.web.hls.segment": "500ms", "video.gop": "500ms"}) == {}


VALID = [
    {"test": {}},
    {"test": {"pattern": "smptebars", "resolution": "640x360"}, "fps": 29.97},
    {"file": "a.mp4", "loop": False},
    {"display": "desk", "cursor": False},
    {"display": "desk", "region": {"width": 10, "height": 10}},
    {"display": "desk", "window": {"title": "x"}},
    {"display": "desk", "window": {"class": "x"}},
]
INVALID = [
    {},
    {"test": {}, "file": "a.mp4"},
    {"test": {}, "loop": True},
    {"file": "a.mp4", "cursor": True},
    {"display": "desk", "window": {}},
    {"display": "desk", "region": {"width": 10, "height": 10}, "window": {"title": "x"}},
    {"region": {"width": 10, "height": 10}},
    {"display": "desk", "region": {"width": 1, "height": 10}},
    {"test": {"pattern": "nosuch"}},
    {"test": {}, "fps": 0},
    {"test": {}, "fps": 241},
    {"file": ""},
    {"screen": "desk"},
]


@pytest.mark.parametrize("source", [*VALID, *INVALID], ids=str)
def test_the_schema_says_what_the_model_enforces(source: dict[str, Any]) -> None:
    data = {**SPEC, "video": {"source": source}}
    schema = StreamSpec.model_json_schema(by_alias=True)
    by_schema = jsonschema.Draft202012Validator(schema).is_valid(data)
    try:
        StreamSpec.model_validate(data)
    except ValidationError:
        by_model = False
    else:
        by_model = True
    assert by_schema == by_model == (source in VALID)


def test_every_field_is_described() -> None:
    def check(schema: dict[str, Any], where: str) -> None:
        for name, part in schema.get("properties", {}).items():
            assert part.get("description"), f"{where}.{name}"

    whole = StreamSpec.model_json_schema(by_alias=True)
    check(whole, "Stream")
    for name, part in whole["$defs"].items():
        check(part, name)
    check(ServerSpec.model_json_schema(), "Server")


def server(context: HostContext, listen: str) -> Compiled:
    return SERVER.compile(Resource(Address("Server", "web"), ServerSpec(listen=listen)), context)


@pytest.mark.parametrize(
    ("listen", "host", "url"),
    [
        ("127.0.0.1:8088", "127.0.0.1", "http://127.0.0.1:8088"),
        ("0.0.0.0:80", "0.0.0.0", "http://127.0.0.1:80"),
        ("[::1]:8088", "::1", "http://[::1]:8088"),
        ("media.example:8088", "media.example", "http://media.example:8088"),
    ],
)
def test_a_server_listens_where_it_is_told(context: HostContext, listen: str, host: str, url: str) -> None:
    found = server(context, listen)
    argv = found.unit("server").argv
    assert argv[argv.index("--host") + 1] == host
    assert isinstance(found.exports, WebRoot)
    assert found.exports.url == url
    assert [(c.what, c.path) for c in found.claims] == [("tcp-port", ("listen",))]


@pytest.mark.parametrize("listen", ["8088", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "a b:1", "[::1:80"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError):
        ServerSpec(listen=listen)
