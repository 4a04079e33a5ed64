"""Waiting until what runs is what was asked for, with the progress shown meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from streamsd.cli.command import Session
from streamsd.cli.failure import Exit
from streamsd.cli.paint import Colour, harmless, paint
from streamsd.cli.render import why_degraded, why_not_ready

if TYPE_CHECKING:
    from streamsd.core.answers import ResourceAnswer, StatusAnswer

T = TypeVar("T")

_EVERY = 0.2
"""Seconds between looks."""


@dataclass(frozen=True, slots=True)
class Waited:
    """`word`: converged, failed or timed-out."""

    word: str
    exit: Exit
    sentence: str
    status: StatusAnswer


def wait_until_converged(session: Session, generation: int, seconds: float) -> Waited:
    """Look until this generation has converged, has failed, or the time is over.

    Failed: the daemon left the generation (it rolled back, or somebody applied another), or a resource gave up.
    """
    deadline = time.monotonic() + seconds
    progress = _Progress(quiet=session.json)
    client = session.client
    while True:
        status: StatusAnswer = client.get("/v1/status")
        progress.show(status)
        result = _judge(status, generation, seconds, over=time.monotonic() >= deadline)
        if result:
            progress.clear()
            return result
        time.sleep(min(_EVERY, max(deadline - time.monotonic(), 0.01)))


def show_while(session: Session, call: Callable[[], T]) -> T:
    """The call's result, or what it raises; while it lasts, what changes is shown."""
    from concurrent.futures import ThreadPoolExecutor

    progress = _Progress(quiet=session.json)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(call)
        while not result.done():
            progress.show(session.client.get("/v1/status"))
            time.sleep(_EVERY)
        progress.clear()
        return result.result()


def _judge(status: StatusAnswer, generation: int, seconds: float, *, over: bool) -> Waited | None:
    if status["generation"] != generation:
        text = f"Failed: generation {generation} was left again; now it is {status['generation']}."
        return Waited("failed", Exit.FAILED, text, status)
    if status["observed_generation"] >= generation:
        if status["converged"]:
            text = "\n".join([f"Converged: {_counted(status)}.", *_degraded(status)])
            return Waited("converged", Exit.OK, text, status)
        lost = [resource for resource in status["resources"] if _gave_up(resource, generation)]
        if lost:
            hint = f"`streamsd logs {lost[0]['address']}` shows what its processes wrote."
            text = "\n".join(["Failed:", *(_why(r) for r in lost), hint])
            return Waited("failed", Exit.FAILED, text, status)
    if over:
        waiting = [_why(r) for r in status["resources"] if not r["ready"]]
        text = "\n".join([f"Not done after {seconds:g} s ({_counted(status)}); it goes on:", *waiting])
        return Waited("timed-out", Exit.TIMED_OUT, text, status)
    return None


def _gave_up(resource: ResourceAnswer, generation: int) -> bool:
    """Not ready in this generation, and nothing is being done about it but trying again at the cap."""
    return not resource["ready"] and any(
        condition["type"] == "Progressing"
        and condition["status"] == "False"
        and condition["observed_generation"] >= generation
        for condition in resource["conditions"]
    )


def _counted(status: StatusAnswer) -> str:
    ready = sum(1 for resource in status["resources"] if resource["ready"])
    return f"{ready} of {len(status['resources'])} ready"


def _degraded(status: StatusAnswer) -> list[str]:
    """What is ready, but not whole: whoever applies is not to think that all is well."""
    found = [(resource["address"], why_degraded(resource)) for resource in status["resources"] if resource["ready"]]
    return [f"  {address}  degraded: {why['reason']}: {harmless(why['message'])}" for address, why in found if why]


def _why(resource: ResourceAnswer) -> str:
    why = why_not_ready(resource)
    reason = f"{why['reason']}: {harmless(why['message'])}" if why else "not ready yet"
    return f"  {resource['address']}  {reason}"


class _Progress:
    """What changes, a line each, on stderr; on a terminal also one line that says what is awaited."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._shown: dict[str, str] = {}
        self._start = time.monotonic()

    def show(self, status: StatusAnswer) -> None:
        if self._quiet:
            return
        self.clear()
        for resource in status["resources"]:
            word = self._word(resource)
            if self._shown.get(resource["address"]) != word:
                known = resource["address"] in self._shown
                self._shown[resource["address"]] = word
                if known or not resource["ready"]:
                    colour = Colour.GREEN if resource["ready"] else Colour.YELLOW
                    click.echo(f"  {resource['address']}  {paint(word, colour, sys.stderr)}", err=True)
        if self._terminal:
            waited = int(time.monotonic() - self._start)
            click.echo(paint(f"  … {_counted(status)}, {waited} s", Colour.DIM, sys.stderr), err=True, nl=False)

    def clear(self) -> None:
        """Take the line of waiting away."""
        if self._terminal and not self._quiet:
            click.echo("\r\x1b[K", err=True, nl=False)

    @staticmethod
    def _word(resource: ResourceAnswer) -> str:
        if resource["ready"]:
            return "ready"
        why = why_not_ready(resource)
        return why["reason"] if why and why["reason"] else "waiting"
