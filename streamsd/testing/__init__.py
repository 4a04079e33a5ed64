"""For tests of kinds and of what stands on the engine: time, a runtime and a world that a test holds in its hand.

    async with Scenario(tmp_path) as s:
        await s.apply(things(a={}, b={"uses": ["a"]}))
        s.runtime.kill("Thing/a/main", code=1)
        await s.settle()
        assert s.runtime.mutations() == [...]

Nothing here starts a process or sleeps: `FakeClock` moves when it is told to, `FakeRuntime` keeps its processes in
memory and writes down what it was asked. The engine in between is the real one.
"""

from streamsd.testing.clock import FakeClock, settle
from streamsd.testing.kinds import ThingKind, ThingSpec, things
from streamsd.testing.plans import plan_text
from streamsd.testing.runtime import Call, FakeRuntime
from streamsd.testing.scenario import Scenario

__all__ = [
    "Call",
    "FakeClock",
    "FakeRuntime",
    "Scenario",
    "ThingKind",
    "ThingSpec",
    "plan_text",
    "settle",
    "things",
]
