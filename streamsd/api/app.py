"""The routes. Each asks the Service and writes down its answer; nothing is decided here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, with_config
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from typing_extensions import TypedDict

import streamsd
from streamsd.api import logs
from streamsd.api.bodies import BoundedBodies
from streamsd.api.peer import OwnerOnly
from streamsd.core.address import NAME_PATTERN, Address
from streamsd.core.answers import (
    ApplyAnswer,
    ApplyRequest,
    ErrorAnswer,
    GraphAnswer,
    HealthAnswer,
    PlanAnswer,
    StatusAnswer,
)
from streamsd.core.diagnostics import name_hint
from streamsd.core.service import Refused, Service

T = TypeVar("T")

KindName = Annotated[str, Path(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$", description="such as Stream")]
ResourceName = Annotated[str, Path(pattern=NAME_PATTERN)]
Role = Annotated[str | None, Query(description="one process of the resource; without it, all")]
Operation = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="such as switch-scene")]
Follow = Annotated[bool, Query(description="go on as more comes")]


@with_config(ConfigDict(extra="forbid"))
class ApplyBody(ApplyRequest):
    """ApplyRequest, and nothing else: a slip in `allow_interrupt` must not be passed over."""


@with_config(ConfigDict(extra="forbid"))
class DestroyRequest(TypedDict):
    """`addresses`: such as ["Stream/desktop"]."""

    addresses: list[str]


class Json(Response):
    """JSON as the standard library writes it, for answers that are plain data already."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=str).encode()


_LAST = 2**63 - 1
"""The largest number that an event can have."""
_SINCE = "after this sequence number; 0: from the newest thousand"
_DONE: dict[str, Any] = {"done": True}
_ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorAnswer, "description": "what is wrong"}}


def create_app(service: Service, closing: asyncio.Event) -> FastAPI:
    """The application over a service. Streams that follow end when their client goes or `closing` is set."""
    app = FastAPI(
        title="streamsd",
        version=streamsd.__version__,
        summary="What this host streams: desired and observed state.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=_ERRORS,
        separate_input_output_schemas=False,
        dependencies=[Depends(_known_query)],
    )
    app.add_middleware(BoundedBodies)
    app.add_middleware(OwnerOnly)  # the outermost: a stranger's body is not even read
    _say_errors(app)
    _state_routes(app, service)
    _change_routes(app, service)
    _stream_routes(app, service, closing)
    return app


def _known_query(request: Request) -> None:
    """A parameter that is none is a slip: restarting with `?rol=main` must not restart all."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            hint = name_hint(name, known, "parameters") if known else "this takes no parameters"
            words = f"there is no parameter {name!r} here"
            raise Refused(400, {"error": "bad-request", "message": words, "hint": hint})


def _state_routes(app: FastAPI, service: Service) -> None:
    @app.get("/v1/health", response_model=HealthAnswer)
    async def health() -> Response:
        """Whether the daemon answers. Says nothing of resources: see /v1/status."""
        return Json({"status": "ok", "version": streamsd.__version__, "pid": os.getpid()})

    @app.get("/v1/status", response_model=StatusAnswer)
    async def status() -> Response:
        """Every resource: conditions, processes, what is observed."""
        return Json(await service.status())

    @app.get("/v1/plan", response_model=PlanAnswer)
    async def plan() -> Response:
        """What applying the profile as it stands in the file would do. Touches nothing."""
        return Json(await service.plan())

    @app.get("/v1/graph", response_model=GraphAnswer)
    async def graph() -> Response:
        """Resources and what they depend on."""
        return Json(await service.graph())

    @app.get("/v1/export")
    async def export() -> Response:
        """Every resource as {apiVersion, kind, name, spec, status}; secrets masked."""
        return Json(await service.export())

    @app.get("/v1/declared")
    async def declared() -> Response:
        """The accepted profile, composed and without defaults; secrets as references or masked."""
        return Json(await service.declared())

    @app.get("/v1/resources/{kind}/{name}")
    async def describe(kind: KindName, name: ResourceName) -> Response:
        """One resource whole; secrets masked."""
        return Json(await service.describe(Address(kind, name)))


def _change_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/apply", response_model=ApplyAnswer)
    async def apply(request: ApplyBody | None = None) -> Response:
        """Accept the profile as it stands in the file and begin to converge."""
        return Json(await service.apply(request or ApplyRequest()))

    @app.post("/v1/resources/{kind}/{name}/restart")
    async def restart(kind: KindName, name: ResourceName, role: Role = None) -> Response:
        """Start a resource's processes anew."""
        await service.restart(Address(kind, name), role)
        return Json(_DONE)

    @app.post("/v1/resources/{kind}/{name}/operations/{operation}")
    async def operate(
        kind: KindName, name: ResourceName, operation: Operation, arguments: dict[str, Any] | None = None
    ) -> Response:
        """Carry out an operator's command of the resource's kind; the answer is the kind's own."""
        return Json(await service.operate(Address(kind, name), operation, arguments or {}))

    @app.post("/v1/destroy")
    async def destroy(request: DestroyRequest) -> Response:
        """Stop resources and what depends on them, until the next apply."""
        await service.destroy([_address(text) for text in request["addresses"]])
        return Json(_DONE)

    @app.post("/v1/down")
    async def down() -> Response:
        """Stop everything, the daemon last."""
        await service.down()
        return Json(_DONE)


def _stream_routes(app: FastAPI, service: Service, closing: asyncio.Event) -> None:
    @app.get("/v1/events")
    async def events(
        since: Annotated[int, Query(ge=0, le=_LAST, description=_SINCE)] = 0,
        follow: Follow = False,
        address: Annotated[str | None, Query(description="only this resource's")] = None,
    ) -> Response:
        """Events, one JSON object a line, each with its `seq`."""
        only = _address(address) if address else None

        async def lines() -> AsyncIterator[dict[str, Any]]:
            async for seq, event in service.events(since=since, follow=follow, address=only):
                yield {"seq": seq, **event}

        return _ndjson(lines(), closing)

    @app.get("/v1/logs/{kind}/{name}")
    async def log_lines(
        kind: KindName,
        name: ResourceName,
        role: Role = None,
        lines: Annotated[int, Query(ge=0, le=100_000)] = 100,
        follow: Follow = False,
    ) -> Response:
        """What a resource's processes wrote, {"role", "line"} a line."""
        address = Address(kind, name)
        files = service.log_files(address, role)  # refuses what is unknown, before the answer begins

        async def found() -> AsyncIterator[dict[str, Any]]:
            source = logs.follow(lambda: service.log_files(address, role), lines) if follow else logs.read(files, lines)
            with suppress(Refused):  # the resource was deleted while it was followed
                async for origin, line in source:
                    yield {"role": origin, "line": line}

        return _ndjson(found(), closing)


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as fault:
        raise Refused(400, {"error": "bad-address", "message": str(fault)}) from None


def _ndjson(items: AsyncIterator[dict[str, Any]], closing: asyncio.Event) -> Response:
    async def body() -> AsyncIterator[bytes]:
        async for item in _until(closing, items):
            yield json.dumps(item, ensure_ascii=False, default=str).encode() + b"\n"

    return StreamingResponse(body(), media_type="application/x-ndjson")


async def _until(closing: asyncio.Event, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The items, ending early once `closing` is set."""
    end = asyncio.ensure_future(closing.wait())
    following: asyncio.Future[T] | None = None
    try:
        while not end.done():
            following = asyncio.ensure_future(anext(items))
            await asyncio.wait({end, following}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        end.cancel()
        if following and not following.done():
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        close = getattr(items, "aclose", None)
        if close:
            await close()


def _say_errors(app: FastAPI) -> None:
    """Every error, whoever raised it, is an ErrorAnswer."""

    @app.exception_handler(Refused)
    async def refused(request: Request, fault: Refused) -> Response:
        return JSONResponse(fault.answer, fault.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, fault: RequestValidationError) -> Response:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse(ErrorAnswer(error="bad-request", message=f"{where}: {first['msg']}"), 400)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, fault: HTTPException) -> Response:
        code = "not-found" if fault.status_code == 404 else "bad-request"
        message = f"{request.method} {request.url.path}: {fault.detail}"
        return JSONResponse(ErrorAnswer(error=code, message=message), fault.status_code, fault.headers)

    @app.exception_handler(500)
    async def failed(request: Request, fault: Exception) -> Response:
        message = f"streamsd failed to answer ({type(fault).__name__})"  # the traceback goes to the daemon's log only
        return JSONResponse(ErrorAnswer(error="internal-error", message=message, hint="see the daemon's log"), 500)
