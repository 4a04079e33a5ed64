"""Files that scenes show, and that go meanwhile: told, in nobody's way, and shown again when they are back."""

from __future__ import annotations

from streamsd.cli.client import Client
from tests.e2e.host import Host
from tests.e2e.obs.instance import Instance, near
from tests.e2e.obs.media import picture_file

SHOW = """
    version: 1
    obs:
      studio: {canvas: 640x360, fps: 10, scenes: [main], program: main}
    scenes:
      main:
        items:
          - {name: logo, image: {file: logo.png}, position: [100, 100]}
          - {name: slides, slideshow: {files: [slide.png]}, position: [300, 100]}
          - {name: back, color: {color: "#333333", size: 640x360}}
"""


def test_a_file_that_goes_is_told_and_stands_in_the_way_of_nothing_else(host: Host) -> None:
    obs, logo, slide = Instance(host), host.directory / "logo.png", host.directory / "slide.png"
    for path in (logo, slide):
        picture_file(path)

    def shown(x: int, *color: int) -> bool:
        return near(obs.pixel(x, 110, "main", (640, 360)), *color, by=8)

    def errors() -> list[str]:
        problems = Client(host.settings).get("/v1/status")["problems"]
        return [f"{p['message']} {p['hint']}" for p in problems if p["severity"] == "error"]

    host.write(SHOW)
    host.up()
    host.until(lambda: obs.observed().get("converged"), "it is as declared")
    host.until(lambda: shown(110, 0xFF, 0, 0), "the logo is shown")

    logo.rename(host.directory / "away.png")
    slide.unlink()
    host.until(lambda: obs.condition("Degraded")["reason"] == "FileMissing", "it is told")
    for words in (f"input logo: {logo}", f"input slides: {slide}"):
        host.until(lambda words=words: words in obs.condition("Degraded")["message"], "it is named")
    host.until(lambda: shown(110, 0x33, 0x33, 0x33), "it has vanished")

    # an edit of something else is applied, with a warning
    host.edit("#333333", "#2244aa")
    host.until(lambda: shown(10, 0x22, 0x44, 0xAA), "the edit is applied")
    (warning, _) = Client(host.settings).get("/v1/plan")["diagnostics"]
    assert (warning["severity"], warning["code"], warning["line"]) == ("warning", "file-missing", 8)

    # another file that is not there is a mistake
    host.edit("logo.png", "awy.png")
    host.until(errors, "it is refused")
    assert "awy.png does not exist did you mean 'away.png'?" in errors()[0]
    host.edit("awy.png", "logo.png")
    host.until(lambda: not errors(), "the profile is good again")

    # nor does it keep a new daemon from what runs
    pid = obs.pids()["obs"]
    host.kill()
    host.up()
    host.edit("#2244aa", "#aa4422")
    host.until(lambda: shown(10, 0xAA, 0x44, 0x22), "the edit is applied")
    assert obs.pids()["obs"] == pid

    picture_file(slide)
    (host.directory / "away.png").rename(logo)
    host.until(lambda: not obs.is_true("Degraded"), "all is well again")
    for x in (110, 310):
        host.until(lambda x=x: shown(x, 0xFF, 0, 0), "it is shown again")
