"""Any collection that can be declared converges in one apply, and a second one sends nothing; from any state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streamsd.programs.director.client import Client
from streamsd.programs.director.model import Owned
from streamsd.programs.director.parse import parse_desired
from streamsd.programs.director.reconcile import Reconciler
from tests.contract.obs_documents import VIDEO, document
from tests.contract.obs_rig import studio

NOTHING = Owned()

_NAMES = ["a", "b", "c", "d", "ö ü", "x/y"]
_SCENES = ["s1", "s2", "s3"]
_whole = st.integers(-400, 1200).map(float)
_halves = st.integers(-400, 1200).map(lambda n: n / 2)


@st.composite
def _transform(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {"x": draw(_halves), "y": draw(_halves)}
    if draw(st.booleans()):
        scale = st.sampled_from([0.25, 0.1, 1.0, 1.5, 3.0])
        found |= {"scale_x": draw(scale), "scale_y": draw(scale), "rotation": draw(st.sampled_from([0.0, 33.3, -90.0]))}
    if draw(st.booleans()):
        kinds = ["STRETCH", "SCALE_INNER", "SCALE_OUTER", "SCALE_TO_WIDTH", "SCALE_TO_HEIGHT", "MAX_ONLY"]
        found |= {
            "bounds_type": "OBS_BOUNDS_" + draw(st.sampled_from(kinds)),
            "bounds_width": float(draw(st.integers(1, 800))),
            "bounds_height": float(draw(st.integers(1, 800))),
            "bounds_alignment": draw(st.sampled_from([0, 5, 10])),
        }
    if draw(st.booleans()):
        found |= {"alignment": draw(st.sampled_from([0, 5, 9, 10])), "crop_left": draw(st.integers(0, 40))}
    return found


@st.composite
def _item(draw: st.DrawFn, source: str) -> dict[str, Any]:
    return {
        "source": source,
        "enabled": draw(st.booleans()),
        "locked": draw(st.booleans()),
        "blend": "OBS_BLEND_" + draw(st.sampled_from(["NORMAL", "ADDITIVE", "MULTIPLY"])),
        "transform": draw(_transform()),
    }


def _placed(item: dict[str, Any]) -> dict[str, Any]:
    """OBS places a group by its top left corner: profiles say nothing else."""
    if item["source"] == "group":
        item["transform"].pop("alignment", None)
    return item


_FILTERS = [
    {"kind": "color_filter_v2", "settings": {"brightness": 0.2, "hue_shift": -12.5}},
    {"kind": "crop_filter", "settings": {"left": 4, "top": 2}},
    {"kind": "scroll_filter", "settings": {"speed_x": 10.0}},
    {"kind": "sharpness_filter_v2", "settings": {}},
]


@st.composite
def _filters(draw: st.DrawFn) -> list[dict[str, Any]]:
    chosen = draw(st.lists(st.sampled_from(range(len(_FILTERS))), unique=True, max_size=3))
    return [{"name": f"f{n}", "enabled": draw(st.booleans()), **_FILTERS[n]} for n in chosen]


@st.composite
def _input(draw: st.DrawFn) -> dict[str, Any]:
    match draw(st.integers(0, 2)):
        case 0:
            size = st.integers(1, 500)
            values = {"color": draw(st.integers(0, 2**32 - 1)), "width": draw(size), "height": draw(size)}
            return {"kind": "color_source_v3", "settings": values, "filters": draw(_filters())}
        case 1:
            font = {"face": "Sans Serif", "size": draw(st.integers(8, 80)), "style": "", "flags": 0}
            text = draw(st.sampled_from(["", "one", "zwei\nlines", "日本"]))
            return {"kind": "text_ft2_source_v2", "settings": {"text": text, "font": font}, "filters": draw(_filters())}
        case _:
            audio = {
                "volume_db": draw(st.sampled_from([0.0, -6.0, -33.3, -100.0])),
                "muted": draw(st.booleans()),
                "balance": draw(st.sampled_from([0.0, 0.5, 0.75])),
                "sync_ms": draw(st.sampled_from([0, -50, 999])),
                "tracks": draw(st.lists(st.integers(1, 6), unique=True)),
            }
            looping = {"local_file": "/nowhere", "looping": draw(st.booleans())}
            return {"kind": "ffmpeg_source", "settings": looping, "audio": audio}


@st.composite
def collections(draw: st.DrawFn) -> dict[str, Any]:
    """Scenes with items, nested scenes (a later one inside an earlier one), a group, filters, overrides."""
    scenes = draw(st.permutations(_SCENES))[: draw(st.integers(1, 3))]
    names = draw(st.lists(st.sampled_from(_NAMES), unique=True, min_size=1))
    grouped = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if draw(st.booleans()) else []
    shown: set[str] = set(grouped)
    rows = []
    for index, scene in enumerate(scenes):
        sources = draw(st.lists(st.sampled_from(names), max_size=4))
        sources += draw(st.lists(st.sampled_from(scenes[index + 1 :]), unique=True)) if scenes[index + 1 :] else []
        if grouped and index == 0:
            sources.insert(draw(st.integers(0, len(sources))), "group")
        shown |= set(sources) & set(names)
        override = draw(st.sampled_from([(None, None), ("Cut", None), ("Fade", 250)]))
        rows.append(
            {
                "name": scene,
                "items": [_placed(draw(_item(source))) for source in sources],
                "filters": draw(_filters()),
                "transition": override[0],
                "transition_ms": override[1],
            }
        )
    return document(
        scenes=rows,
        inputs={name: draw(_input()) for name in names if name in shown},
        groups={"group": {"items": [draw(_item(name)) for name in grouped]}} if grouped else {},
        program=draw(st.sampled_from([None, *scenes])),
        transition=draw(st.sampled_from(["Cut", "Fade"])),
        transition_ms=draw(st.sampled_from([100, 300])),
        video=VIDEO,
    )


@pytest.fixture(scope="module")
def reconciler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconciler]:
    with studio(tmp_path_factory.mktemp("obs")) as made:
        client: Client = made.connect()
        yield made.reconciler(client)
        client.close()


_SETTINGS: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@given(doc=collections())
@settings(max_examples=6, **_SETTINGS)
def test_a_declared_collection_converges_and_stays(reconciler: Reconciler, doc: dict[str, Any]) -> None:
    _converges_and_stays(reconciler, doc)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(doc=collections())
@settings(max_examples=200, **_SETTINGS)
def test_many_declared_collections_converge_and_stay(reconciler: Reconciler, doc: dict[str, Any]) -> None:
    _converges_and_stays(reconciler, doc)


def _converges_and_stays(reconciler: Reconciler, doc: dict[str, Any]) -> None:
    first = reconciler.converge(parse_desired(doc), NOTHING, within=60.0)
    assert first.converged, (first.refused, first.rounds, first.changed)
    again = reconciler.converge(parse_desired(doc), NOTHING, within=60.0)
    assert (again.mutating, again.rounds) == (0, 1), again.changed
