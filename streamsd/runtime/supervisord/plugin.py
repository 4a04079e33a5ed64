"""The rpcinterface plugin: supervisord loads it from its configuration, and it makes supervisord ours.

`make_interface` runs while supervisord opens its servers (so that a fault there is a failed start); `_running` runs
when its loop begins, after it has become a daemon. All state hangs on the Plugin object.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import signal
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.poller import PollPoller
from supervisor.states import SupervisorStates

import streamsd
from streamsd.runtime import cgroups
from streamsd.runtime.procfs import read_process
from streamsd.runtime.supervisord.control import Answering, ControlServer
from streamsd.runtime.supervisord.forks import open_forks
from streamsd.runtime.supervisord.group import UnitGroup
from streamsd.runtime.supervisord.logs import Watch
from streamsd.runtime.supervisord.spawn import Spawner
from streamsd.runtime.supervisord.timers import Timers
from streamsd.runtime.supervisord.trees import Scanner, become_subreaper
from streamsd.runtime.supervisord.units import Host
from streamsd.runtime.supervisord.wire import (
    CGROUPS_RECORD,
    CGROUPS_VARIABLE,
    CONTROL_SOCKET,
    PROTOCOL,
    Fault,
    HelloWire,
    PluginSettings,
    Request,
)


class Interface:
    """The stock XML-RPC side of the plugin: it offers nothing there, the control socket does."""


def make_interface(supervisord: Any, settings: str) -> Interface:
    """Called by supervisord. `settings`: the path of `plugin.json`."""
    Plugin(supervisord, Path(settings))
    return Interface()


class Plugin:
    def __init__(self, supervisord: Any, settings: Path) -> None:
        self._supervisord = supervisord
        self._directory = settings.parent
        self._settings: PluginSettings = json.loads(settings.read_text())
        self._listening = socket.socket(socket.AF_UNIX)
        control = settings.parent / CONTROL_SOCKET
        control.unlink(missing_ok=True)
        self._listening.bind(str(control))
        control.chmod(0o600)
        self._listening.listen(64)
        events.subscribe(events.SupervisorRunningEvent, self._running)  # type: ignore[no-untyped-call]  # supervisor has no types

    def _running(self, _: object) -> None:
        options = self._supervisord.options
        self._hold_directory()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # A hangup means "restart everything" to supervisord: here nothing may end but by request.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._children_files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        critical = options.logger.critical
        timers = Timers(failed=lambda: critical(f"a timer failed\n{traceback.format_exc()}"))
        watch = Watch()
        options.poller = _Poller(options, timers)
        sockets = options.get_socket_map()
        sockets[watch.fileno()] = _WatchMember(watch, critical)
        wakeup = _Wakeup(critical)
        sockets[wakeup.fileno()] = wakeup
        self._server = ControlServer(self._listening, sockets, timers, self._handle, critical)
        groups = self._open_cgroups()
        become_subreaper()
        self._group = UnitGroup(
            options,
            Host(
                log_dir=Path(self._settings["log_dir"]),
                spawner=Spawner(self._settings["instance"], self._children_files, open_forks(critical)),
                cgroups=groups,
                scanner=Scanner(self._settings["instance"]),
                timers=timers,
                watch=watch,
                sink=os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC),
                exited=self._server.tell_exited,
            ),
        )
        self._supervisord.process_groups["streamsd"] = self._group
        self._hello = _hello(self._settings["instance"], groups.mode)
        atexit.register(self._at_exit)
        # What is loaded now stays: children forked from us need not copy pages that the collector has touched.
        gc.collect()
        gc.freeze()

    def _handle(self, request: Request, answer: Answering) -> None:
        match request["op"]:
            case "hello":
                answer(self._hello)
            case "ping":
                answer(None)
            case "observe":
                answer(self._group.observed())
            case "start":
                if self._supervisord.options.mood <= SupervisorStates.SHUTDOWN:
                    # asked to end by somebody else: what the daemon brings back now would only be stopped again
                    raise Fault("RuntimeFailed", "supervisord is shutting down")
                self._group.start(request["start"], answer)
            case "stop":
                self._group.stop(request["unit"], answer)
            case "limit":
                self._group.limit(request["unit"], request["limits"])
                answer(None)
            case "shutdown":
                self._group.stop_everything(lambda _: self._shut_down(answer))
            case other:
                raise Fault("RequestUnknown", f"supervisord's plugin knows no {other}")

    def _shut_down(self, answer: Answering) -> None:
        answer(None)
        self._supervisord.options.mood = SupervisorStates.SHUTDOWN

    def _open_cgroups(self) -> cgroups.Cgroups:
        if os.environ.get(CGROUPS_VARIABLE) == "none":
            return cgroups.Cgroups(cgroups.Mode.NONE)
        found = cgroups.open_cgroups(self._settings["instance"], cgroups.read_mounts())
        cgroups.remember_bases(self._directory / CGROUPS_RECORD, found)
        return found

    def _hold_directory(self) -> None:
        """Our paths go through a descriptor that boot gave us (see there); children must not get it."""
        name = self._directory.name
        if self._directory.parent == Path("/proc/self/fd") and name.isdigit():
            os.set_inheritable(int(name), False)

    def _at_exit(self) -> None:
        self._group.host.cgroups.remove()
        (self._directory / CONTROL_SOCKET).unlink(missing_ok=True)


class _Poller(PollPoller):
    """supervisord's poller, which wakes for our timers too."""

    def __init__(self, options: object, timers: Timers) -> None:
        super().__init__(options)  # type: ignore[no-untyped-call]  # supervisor has no types
        self._timers = timers

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        remaining = self._timers.remaining(timeout)
        ready: tuple[list[int], list[int]] = super().poll(remaining)  # type: ignore[no-untyped-call]  # supervisor has no types
        return ready


class _WatchMember:
    """Our epoll as a member of supervisord's loop."""

    def __init__(self, watch: Watch, critical: Callable[[str], None]) -> None:
        self._watch = watch
        self._critical = critical

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self._watch.run_ready()

    def handle_write_event(self) -> None:
        pass

    def handle_error(self) -> None:
        self._critical(f"a pipe failed\n{traceback.format_exc()}")


class _Wakeup:
    """Ends the poll when a signal comes: without it a child's end is seen up to a second late."""

    def __init__(self, critical: Callable[[str], None]) -> None:
        self._critical = critical
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._reading

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            os.read(self._reading, 4096)
        except BlockingIOError:
            return

    def handle_write_event(self) -> None:
        pass

    def handle_error(self) -> None:
        self._critical(f"a pipe failed\n{traceback.format_exc()}")


def _hello(instance: str, mode: cgroups.Mode) -> HelloWire:
    process = read_process(os.getpid())
    return {
        "protocol": PROTOCOL,
        "version": streamsd.__version__,
        "instance": instance,
        "pid": os.getpid(),
        "started": process.started if process else time.clock_gettime(time.CLOCK_BOOTTIME),
        "cgroups": str(mode),
    }
