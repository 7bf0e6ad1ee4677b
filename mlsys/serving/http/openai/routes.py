"""The routes under `/v1`.

Annotations are evaluated here (no `from __future__`): FastAPI reads the models of bodies, made for this
server's limits.
"""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from mlsys.serving.http import replies, sse
from mlsys.serving.http.handler import Handler
from mlsys.serving.http.openai import chat, completions, embeddings, errors, models
from mlsys.serving.http.openai.chat import Chat
from mlsys.serving.http.openai.completions import Completion
from mlsys.serving.http.openai.embeddings import Embeddings
from mlsys.serving.modes import RAG
from mlsys.serving.request import NotFound, Unanswerable

ERROR: dict[str, Any] = {"model": errors.Body}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {**ERROR, "description": "A field is wrong or not supported: param names it"},
    401: {**ERROR, "description": "An API key is required"},
    404: {**ERROR, "description": "There is no such model"},
    413: {**ERROR, "description": "The body is too large"},
    429: {**ERROR, "description": "The queue is full; Retry-After says when to come back"},
    "4XX": {**ERROR, "description": "Any other mistake"},
    500: {**ERROR, "description": "This request failed"},
    502: {**ERROR, "description": "What the replica sent is no answer"},
    503: {**ERROR, "description": "Loading, draining, or no replica is up"},
    504: {**ERROR, "description": "The deadline has passed"},
}
OBJECT = {"application/json": {"schema": {"type": "object"}}}
STREAMED: dict[str, Any] = {
    "description": "As OpenAI answers; with stream its chunks",
    "content": {**OBJECT, **sse.described()},
}
WHOLE: dict[str, Any] = {"description": "As OpenAI answers", "content": OBJECT}


def add(app: FastAPI, handler: Handler) -> None:
    """All of them."""
    options = handler.options
    limits = options.max_k, options.max_tokens
    _add_texts(app, handler, chat.body(*limits), completions.body(*limits))
    _add_embeddings(app, handler, embeddings.body(options.max_query_chars))
    _add_models(app, handler)


def _add_texts(app: FastAPI, handler: Handler, conversation: Any, continuation: Any) -> None:
    names, most = handler.service.names, handler.options.max_query_chars

    @app.post(Chat.path, response_model=None, responses={200: STREAMED, **ERRORS})
    async def chat_completions(asked: conversation, http: Request) -> Response:
        """Answer a conversation: the model `rag` from the corpus, the generator's own name without it."""
        _known(asked.model, (await names()).texts)
        if (fault := _no_question(asked, most)) is not None:
            return JSONResponse(fault, 400)
        return await _reply(handler, Chat(asked, replies.client_of(http)), http)

    @app.post(Completion.path, response_model=None, responses={200: STREAMED, **ERRORS})
    async def text_completions(asked: continuation, http: Request) -> Response:
        """Continue a text, or answer it from the corpus."""
        _known(asked.model, (await names()).texts)
        if asked.model == RAG and (fault := _too_long("prompt", asked.prompt, most)) is not None:
            return JSONResponse(fault, 400)
        return await _reply(handler, Completion(asked, replies.client_of(http)), http)


def _add_embeddings(app: FastAPI, handler: Handler, texts: Any) -> None:
    @app.post(Embeddings.path, response_model=None, responses={200: WHOLE, **ERRORS})
    async def embed(asked: texts, http: Request) -> Response:
        """The vectors of texts, as the corpus is searched by."""
        _known(asked.model, (await handler.service.names()).embeddings)
        return await _reply(handler, Embeddings(asked, replies.client_of(http)), http)


def _add_models(app: FastAPI, handler: Handler) -> None:
    @app.get("/v1/models", response_model=models.Models, responses=ERRORS)
    async def all_models() -> models.Models:
        """The names that chat and text completions know."""
        return models.listed((await handler.service.names()).texts)

    @app.get("/v1/models/{model}", response_model=models.Model, responses=ERRORS)
    async def one_model(model: str) -> models.Model:
        """One of them, or the embedder."""
        names = await handler.service.names()
        _known(model, [*names.texts, *(names.embeddings or [])])
        return models.Model(id=model)


async def _reply(handler: Handler, form: Chat | Completion | Embeddings, http: Request) -> Response:
    try:
        request = form.request(handler.options.default_timeout_ms)
        return await replies.reply(handler, request, http)
    except Unanswerable as error:
        return errors.response(error, form.subject)


def _known(model: str, names: list[str] | None) -> None:
    """Raise NotFound unless it is one of the names."""
    if names is not None and model not in names:
        raise NotFound(f"the model {model!r} does not exist; here are: {', '.join(names)}")


def _no_question(asked: chat.Conversation, max_chars: int) -> dict[str, Any] | None:
    """The error where passages cannot be looked for by the last message."""
    last, place = asked.messages[-1], f"messages[{len(asked.messages) - 1}]"
    if asked.model != RAG:
        return None
    if last.role != "user":
        said = "the last message must be the user's: passages are looked for by it"
        return errors.body(400, f"{place}.role: {said}", f"{place}.role")
    return _too_long(f"{place}.content", last.content, max_chars)


def _too_long(place: str, query: str, max_chars: int) -> dict[str, Any] | None:
    if 1 <= len(query) <= max_chars:
        return None
    return errors.body(400, f"{place}: from 1 to {max_chars} characters (server.max_query_chars)", place)
