"""Templates: fragments with variables, taken over as a resource or as a part of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from streamsd.core.address import Address
from streamsd.core.kind import Registry
from streamsd.document.load import Loaded, load
from streamsd.document.nodes import MapNode
from streamsd.document.parse import parse
from streamsd.document.schema import profile_schema
from streamsd.document.validate import plain
from streamsd.kinds import load_kinds
from tests.unit.document.kinds import REGISTRY, Cast, Screen, told

SINKS = """\
version: 1
vars: {host: example.org, key: outer}
templates:
  server:
    vars: {app: live, key: }
    rtmp: {url: "rtmp://${var:host}/${var:app}/${var:key}"}
  wide: {vars: {rate: 30}, resolution: 1920x1080, fps: "${var:rate}"}
screens:
  s: {extends: wide, with: {rate: 50}, gamma: 2.0}
  t: {extends: s, with: {rate: 60}}
  u: {extends: wide, resolution: 640x480}
casts:
  a:
    screen: s
    sinks:
      one: {extends: server, with: {key: "in-${var:key}"}}
      two: {extends: server, with: {key: k, app: other}}
"""


def read(directory: Path, text: str, registry: Registry = REGISTRY) -> Loaded:
    (directory / "p.yaml").write_text(text)
    return load(directory / "p.yaml", registry, host="h", environ={})


def spec(loaded: Loaded, address: str) -> Any:
    assert told(loaded) == []
    return loaded.resources[Address.parse(address)].spec


def test_a_template_is_a_resource_or_a_part_of_one(tmp_path: Path) -> None:
    loaded = read(tmp_path, SINKS)
    screens = [spec(loaded, f"Screen/{name}") for name in "stu"]
    assert all(isinstance(screen, Screen) for screen in screens)
    assert [(str(x.resolution), x.fps, x.gamma) for x in screens] == [
        ("1920x1080", 50, 2.0),
        ("1920x1080", 60, 2.0),
        ("640x480", 30, 1.0),
    ]
    cast = spec(loaded, "Cast/a")
    assert isinstance(cast, Cast)
    # `key` inside is the template's, outside the profile's; `host` is the profile's in both
    urls = {name: sink.rtmp.url for name, sink in cast.sinks.items() if sink.rtmp}
    assert urls == {
        "one": "rtmp://example.org/live/in-outer",
        "two": "rtmp://example.org/other/k",
    }


def test_the_schema_knows_them() -> None:
    root = parse(SINKS.encode(), "p.yaml").root
    assert root is not None
    schema = Draft202012Validator(profile_schema(REGISTRY))
    assert [e.message for e in schema.iter_errors(plain(root))] == []


def test_variables_of_the_profile_mean_the_same_inside(tmp_path: Path) -> None:
    text = """\
version: 1
vars: {a: "${var:b}", b: 20}
templates:
  x: {vars: {b: 99}, fps: "${var:a}"}
screens:
  s: {extends: x}
"""
    assert spec(read(tmp_path, text), "Screen/s").fps == 20


def test_every_expression_is_resolved_once(tmp_path: Path) -> None:
    text = """\
version: 1
templates:
  x: {vars: {text: }, env: {A: "$${inside}", B: "${var:text}"}}
screens: {s: {}}
casts:
  c: {extends: x, with: {text: "$${given}"}, screen: s, env: {C: "$${own}"}}
"""
    assert spec(read(tmp_path, text), "Cast/c").env == {"A": "${inside}", "B": "${given}", "C": "${own}"}


def test_templates_use_templates_and_lie_in_bases(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("templates: {x: {vars: {f: 10}, fps: '${var:f}'}, y: {extends: x}}\n")
    text = "version: 1\nextends: base.yaml\ntemplates: {x: {gamma: 3.0}}\nscreens: {s: {extends: y, resolution: 1x1}}\n"
    found = spec(read(tmp_path, text), "Screen/s")
    assert (found.fps, found.gamma, str(found.resolution)) == (10, 3.0, "1x1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("templates: {x: 5}", ["2:13 template-type"]),
        ("templates: {x: {}}\nscreens: {s: {extends: y}}", ["3:24 extends-unknown"]),
        (
            "templates: {x: {}}\ncasts: {c: {screen: s, sinks: {o: {extends: y}}}}\nscreens: {s: {}}",
            ["3:45 extends-unknown"],
        ),
        ("templates: {x: {vars: {f: }}}\nscreens: {s: {extends: x}}", ["3:24 with-missing"]),
        ("templates: {x: {vars: {f: 1}}}\nscreens: {s: {extends: x, with: {g: 1}}}", ["3:34 with-unknown"]),
        ("templates: {x: {}}\nscreens: {s: {extends: x, with: [1]}}", ["3:33 with-type"]),
        ("templates: {x: {extends: y}, y: {extends: x}}\nscreens: {s: {extends: x}}", ["2:43 extends-cycle"]),
        ("templates: {x: {fps: fast}}\nscreens: {s: {extends: x}}", ["2:22 value-type"]),
        (
            "templates: {x: {vars: {a: '${var:b}', b: '${var:a}'}, fps: '${var:a}'}}\nscreens: {s: {extends: x}}",
            ["2:42 var-cycle"],
        ),
    ],
)
def test_a_mistake_is_told_where_it_is(tmp_path: Path, text: str, expected: list[str]) -> None:
    loaded = read(tmp_path, f"version: 1\n{text}\n")
    assert told(loaded) == expected
    assert not loaded.resources


def test_a_bomb_of_templates_is_refused(tmp_path: Path) -> None:
    levels = [
        f"  t{n}: {{a: {{extends: t{n + 1}}}, b: {{extends: t{n + 1}}}, c: {{extends: t{n + 1}}}}}" for n in range(30)
    ]
    text = "\n".join(["version: 1", "templates:", *levels, "  t30: {fps: 1}", "screens: {s: {extends: t0}}"])
    assert [line.split()[1] for line in told(read(tmp_path, text))] == ["profile-size"]


def test_scenes_and_sources_of_obs_are_made_of_them(tmp_path: Path) -> None:
    text = """\
version: 1
templates:
  lower-third:
    vars: {title: , size: 36}
    text: {text: "${var:title}", font: {size: "${var:size}"}}
    position: [40, 640]
  interview:
    vars: {guest: }
    items:
      - {extends: lower-third, with: {title: "Guest: ${var:guest}"}, name: "guest ${var:guest}"}
      - {name: "wall ${var:guest}", color: {color: "#203040"}}
scenes:
  ann: {extends: interview, with: {guest: Ann}}
  bob: {extends: interview, with: {guest: Bob}, description: the second one}
"""
    loaded = read(tmp_path, text, load_kinds())
    ann, bob = spec(loaded, "Scene/ann"), spec(loaded, "Scene/bob")
    assert [item.name for item in ann.items] == ["guest Ann", "wall Ann"]
    assert (bob.items[0].text.text, bob.items[0].text.font.size, bob.items[0].position) == ("Guest: Bob", 36, [40, 640])
    root = parse(text.encode(), "p.yaml").root
    assert isinstance(root, MapNode)
    assert [e.message for e in Draft202012Validator(profile_schema(load_kinds())).iter_errors(plain(root))] == []
