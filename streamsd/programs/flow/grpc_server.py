"""What serving has in common for the source and the sink: listening, and who may call."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # it ships no types
import grpc.aio  # type: ignore[import-untyped]  # it ships no types

from streamsd.core.secret import Secret
from streamsd.flow.spec.words import Tls
from streamsd.programs.flow import grpc_frames
from streamsd.programs.flow.network import address


async def listening(listen: str, tls: Tls | None, base: Path, method: str, handler: Any, most: int | None) -> Any:
    """A server of one method that listens. OSError when that cannot be. `most`: bytes of what is received at once."""
    host, port = address(listen)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options: list[tuple[str, int]] = [("grpc.so_reuseport", 0), ("grpc.keepalive_time_ms", 30_000)]
    if most is not None:
        options.append(("grpc.max_receive_message_length", most))
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(grpc_frames.SERVICE, {method: handler}),))
    try:
        if tls is None:
            server.add_insecure_port(where)
        else:
            server.add_secure_port(where, grpc_frames.server_credentials(tls, base))
        await server.start()
    except RuntimeError as fault:
        # gRPC says no more than that it failed to bind.
        raise OSError(str(fault).partition(";")[0]) from None
    return server


async def authorize(context: Any, token: Secret | None) -> None:
    """End the call of a client that does not know the token."""
    given = str(dict(context.invocation_metadata()).get("authorization", ""))
    if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token.reveal()}".encode()):
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong")


async def refuse(context: Any) -> None:
    """End a call that there is no room for."""
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many connections")
