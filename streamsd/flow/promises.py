"""What a sink promises when something crashes, from what source and sink can do."""

from __future__ import annotations

from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.spec.sinks import EXACT, Sink
from streamsd.flow.spec.sources import Source

_FORGETFUL = frozenset({"tcp", "udp", "stdin", "websocket"})
_ONCE = frozenset({"udp", "websocket", "sse", "stdout"})


def delivery_of(spec: FlowSpec, sink: Sink) -> str:
    """`exactly once`, `at least once` or `at most once`, with the reason where it is the last."""
    sources = spec.all_sources.values()
    if not spec.recovery.enabled:
        return "at most once (recovery is off)"
    forgetful = [source.transport for source in sources if _forgets(source)]
    if forgetful:
        return f"at most once ({forgetful[0]} cannot give a message again)"
    if sink.obs is not None:
        return "at most once (obs shows the newest one)"
    if sink.transport in _ONCE or (sink.grpc is not None and sink.grpc.listen is not None):
        return f"at most once ({sink.transport} does not confirm)"
    if sink.transport == "tcp":
        return "at least once, but for what a broken connection swallows"
    told = sink.sqlite or sink.postgres
    exact = sink.transport in EXACT and all(source.replayable for source in sources)
    if exact or (told and told.key):
        return "exactly once"
    return "at least once"


def _forgets(source: Source) -> bool:
    if source.mqtt is not None:
        return source.mqtt.qos == 0
    if source.nats is not None:
        return source.nats.stream is None
    if source.http is not None:
        return source.http.respond == "received"
    if source.grpc is not None:
        return source.grpc.respond == "received"
    if source.streamsd is not None:
        return source.streamsd.read == "status"
    return source.transport in _FORGETFUL or source.transport == "sse"
