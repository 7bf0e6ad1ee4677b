"""The HTTP side: routes, their documents and how errors look. What happens behind them is the handler's
business.

Annotations are evaluated here (no `from __future__`): FastAPI reads the model of a body, made for this
server's limits.
"""

import time
from typing import Any
from uuid import UUID

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from mlsys.errors import UserError
from mlsys.serving.http import docs, replies, schema, sse, trail
from mlsys.serving.http.direct import Direct
from mlsys.serving.http.handler import Handler
from mlsys.serving.http.jobs import Job
from mlsys.serving.http.keyring import Keyring
from mlsys.serving.http.middleware import Middleware
from mlsys.serving.http.openai import errors, routes
from mlsys.serving.http.page import PAGE
from mlsys.serving.http.rag import Rag
from mlsys.serving.http.rates import Rates
from mlsys.serving.http.replies import client_of
from mlsys.serving.http.trail import Trail
from mlsys.serving.modes import Answer, Apart
from mlsys.serving.request import Request as RagRequest
from mlsys.serving.request import ServiceError

PROBLEM: dict[str, Any] = {"model": schema.Problem}
INVALID: dict[int | str, dict[str, Any]] = {422: {"model": schema.Invalid, "description": "A field is wrong"}}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {**PROBLEM, "description": "The body cannot be read, or its prompt is too long"},
    401: {**PROBLEM, "description": "An API key is required"},
    413: {**PROBLEM, "description": "The body is too large"},
    **INVALID,
    429: {**PROBLEM, "description": "The queue is full; Retry-After says when to come back"},
    500: {**PROBLEM, "description": "This request failed"},
    502: {**PROBLEM, "description": "What the replica sent is no answer"},
    503: {**PROBLEM, "description": "Loading, draining, or no replica is up"},
    504: {**PROBLEM, "description": "The deadline has passed"},
}

STREAMED: dict[str, Any] = {
    "model": schema.Rag,
    "description": "The answer; with stream its events",
    "content": sse.described("passages", "text", "done", "error"),
}


def create(handler: Handler) -> FastAPI:
    """The application for one handler."""
    app = FastAPI(title="mlsys RAG service", docs_url=None, redoc_url=None)  # theirs load from a CDN
    options = handler.options
    rates = None if options.rate_per_key is None else Rates(options.rate_per_key, options.rate_burst)
    keyring = Keyring(options.api_key)
    app.add_middleware(Direct, routes=app.routes, said=_said)
    app.add_middleware(Middleware, keyring=keyring, max_body_bytes=options.max_body_bytes, rates=rates)
    app.add_middleware(Trail, log=trail.opened(options.request_log))
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    question = schema.question(options.max_query_chars, options.max_k, options.max_tokens)
    _add_rag(app, handler, question, schema.streamed(question))
    routes.add(app, handler)
    _add_watching(app, handler)
    _add_reload(app, handler)
    return app


def _add_rag(app: FastAPI, handler: Handler, question: Any, ask: Any) -> None:
    def requested(asked: Any, http: Request) -> RagRequest:
        return Rag(asked, client_of(http)).request(handler.options.default_timeout_ms)

    @app.post("/rag", response_model=None, responses={200: STREAMED, **ERRORS})
    async def rag(asked: ask, http: Request) -> Response:
        """Answer a question from the corpus."""
        return await replies.reply(handler, requested(asked, http), http)

    @app.post("/rag/jobs", status_code=202, response_model=schema.Submitted, responses=ERRORS)
    async def submit(asked: question, http: Request) -> dict[str, Any]:
        """Ask now, fetch the answer later."""
        return {"id": handler.submit(requested(asked, http)).id, "status": "pending"}

    job_errors = {**INVALID, 401: ERRORS[401], 404: {**PROBLEM, "description": "Unknown, or no longer kept"}}

    @app.get("/rag/jobs/{job_id}", response_model=schema.Outcome, responses=job_errors)
    async def job(job_id: UUID) -> dict[str, Any]:
        """How a job stands."""
        found = await handler.job(job_id)
        if found is None:
            raise HTTPException(404, f"no job {job_id}: unknown, or kept no longer than server.jobs_ttl_s")
        return _outcome(found)


def _add_watching(app: FastAPI, handler: Handler) -> None:
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        return PAGE

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def interface(http: Request) -> str:
        return docs.render(app.openapi(), str(http.base_url))

    @app.get("/health", response_model=schema.State)
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready", response_model=schema.State, responses={503: ERRORS[503]})
    async def ready() -> dict[str, str]:
        """Models are loaded, a probe was answered, and nothing is stalled."""
        handler.ready()
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Everything that is counted, for Prometheus."""
        service = handler.service
        text = await service.exposition() if isinstance(service, Apart) else service.meters.exposition()
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @app.get("/stats", responses={401: ERRORS[401]})
    async def stats() -> dict[str, Any]:
        """Everything that is counted, as JSON, and what the pipeline is made of."""
        own = {"in_flight": handler.in_flight, "jobs": len(handler.jobs), "front": _front()}
        return own | await handler.service.stats()  # one of several says what all of them do


def _add_reload(app: FastAPI, handler: Handler) -> None:
    conflict = {**PROBLEM, "description": "A reload is under way, or this mode has no replicas"}
    errors: dict[int | str, dict[str, Any]] = {
        401: ERRORS[401],
        403: {**PROBLEM, "description": "Not the first of the keys, or the service has none"},
    }

    @app.post("/admin/reload", status_code=202, responses={400: ERRORS[400], 409: conflict, **errors})
    async def reload() -> dict[str, Any]:
        """Replace the replicas one after the other by those of the configuration's file as it is now."""
        if handler.reload is None:
            raise HTTPException(409, "this service was not started from a file")
        try:
            handler.reload.begin()
        except UserError as error:
            raise HTTPException(400, str(error)) from None
        return {"status": "running"}

    @app.get("/admin/reload", responses=errors)
    async def reloaded() -> dict[str, Any]:
        """How the last one stands."""
        return {"status": "none"} if handler.reload is None else handler.reload.state()


def _front() -> dict[str, int]:
    """How long this thread, which is the event loop's, has had a processor, and a clock to compare that with."""
    return {"cpu_us": time.thread_time_ns() // 1000, "clock_us": time.monotonic_ns() // 1000}


def _outcome(job: Job) -> dict[str, Any]:
    outcome = job.outcome
    if outcome is None:
        return {"id": job.id, "status": "pending"}
    if isinstance(outcome, Answer):
        content = outcome.content() or {}
        if outcome.status == 200 and _is_rag(content):
            return {"id": job.id, "status": "done", "response": content}
        status = 502 if outcome.status == 200 else outcome.status
        what = f"{outcome.replica} answered {outcome.status} with {outcome.content_type}"
        detail = content.get("detail", f"{what}, which is not what this service answers")
    else:
        status, detail = outcome.status, outcome.message
    return {"id": job.id, "status": "failed", "error": {"status": status, "detail": detail}}


def _is_rag(content: dict[str, Any]) -> bool:
    try:
        schema.Rag.model_validate(content)
    except ValidationError:
        return False
    return True


async def _said(http: Request, error: Exception) -> Response:
    return await (_service_error if isinstance(error, ServiceError) else _http_error)(http, error)


async def _service_error(http: Request, error: Exception) -> Response:
    if not isinstance(error, ServiceError):
        raise error
    if _is_openai(http):
        return errors.response(error)
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else None
    return JSONResponse({"detail": error.message}, error.status, headers)


async def _http_error(http: Request, error: Exception) -> Response:
    """No such path or method, or a body too large."""
    if not isinstance(error, StarletteHTTPException):
        raise error
    if _is_openai(http):
        return JSONResponse(
            errors.body(error.status_code, str(error.detail)), error.status_code, error.headers
        )
    return await http_exception_handler(http, error)


def _is_openai(http: Request) -> bool:
    return http.url.path.startswith(errors.PREFIX)


async def _invalid(http: Request, error: Exception) -> Response:
    """Pydantic's faults without what was sent: an echo may be large, secret, or not even writable as JSON."""
    if not isinstance(error, RequestValidationError):
        raise error
    if _is_openai(http):
        return errors.invalid(error.errors())
    faults = [{"loc": list(f["loc"]), "msg": f["msg"], "type": f["type"]} for f in error.errors()]
    return JSONResponse({"detail": faults}, 422)
