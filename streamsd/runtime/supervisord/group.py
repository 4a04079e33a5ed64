"""All units as the one group that supervisord knows of."""

from __future__ import annotations

from typing import Any

from supervisor.options import ProcessGroupConfig
from supervisor.process import ProcessGroupBase
from supervisor.states import STOPPED_STATES

from streamsd.runtime.supervisord.units import Host, Phase, Reply, UnitProcess
from streamsd.runtime.supervisord.wire import Fault, LimitsWire, StartWire, UnitWire


class UnitGroup(ProcessGroupBase):
    """All units, as the one group that supervisord knows of: its loop then costs the same for one or a thousand."""

    def __init__(self, options: Any, host: Host) -> None:
        config = ProcessGroupConfig(options, "streamsd", 999, [])  # type: ignore[no-untyped-call]  # supervisor has no types
        super().__init__(config)  # type: ignore[no-untyped-call]  # supervisor has no types
        self.options = options
        self.host = host
        self.processes: dict[str, UnitProcess] = {}

    def start(self, start: StartWire, reply: Reply) -> None:
        """Fault: AlreadyRunning and what spawning raises; what only the exec shows comes with the reply."""
        known = self.processes.get(start["slug"])
        if known is not None and known.phase is not Phase.ENDED:
            raise Fault("AlreadyRunning", f"{start['unit']} runs already")
        self.processes[start["slug"]] = UnitProcess(self, start, self.host, reply)

    def stop(self, slug: str, reply: Reply) -> None:
        known = self.processes.get(slug)
        if known is None:
            reply(None)
        else:
            known.end(reply)

    def limit(self, slug: str, limits: LimitsWire) -> None:
        known = self.processes.get(slug)
        if known is None:
            raise Fault("NotRunning", f"{slug} does not run")
        known.change_limits(limits)

    def observed(self) -> list[UnitWire]:
        return [unit.observed() for unit in self.processes.values()]

    def forget(self, unit: UnitProcess) -> None:
        if self.processes.get(unit.slug) is unit:
            del self.processes[unit.slug]

    def stop_everything(self, reply: Reply) -> None:
        """End all units at once; `reply` when the last is gone."""
        left = set(self.processes)

        def one_gone(slug: str) -> Reply:
            def gone(_: object) -> None:
                left.discard(slug)
                if not left:
                    reply(None)

            return gone

        if not left:
            reply(None)
        for slug in list(left):
            self.stop(slug, one_gone(slug))

    # What supervisord's loop calls, every time round.

    def transition(self) -> None:
        self.host.timers.run_due()

    def get_dispatchers(self) -> dict[int, object]:
        return {}

    def stop_all(self) -> None:
        for unit in list(self.processes.values()):
            if unit.phase in (Phase.SPAWNING, Phase.RUNNING):
                unit.end(None)

    def get_unstopped_processes(self) -> list[UnitProcess]:
        return [unit for unit in self.processes.values() if unit.state not in STOPPED_STATES]
