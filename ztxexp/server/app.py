"""The routes of the live page."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ztxexp.provenance.masking import mask_text, mask_value
from ztxexp.report.page import page
from ztxexp.server import actions
from ztxexp.server.events import Events, in_thread
from ztxexp.server.files import NotThere, listed, open_file
from ztxexp.server.guard import TooLarge, policy
from ztxexp.server.json import json_bytes
from ztxexp.text.logs import last_lines
from ztxexp_core.errors import ConfigError, ZtxexpError
from ztxexp_core.store.files import RunFiles, read_record

_LOG_LINES, _LOG_BYTES = 200, 256 * 2**10
_BODY_SEC = 10.0
_Action = Callable[[Path, Mapping[str, Any]], str]


class Page:
    """Answers for one results root.

    Args:
        root: the results root.
        events: tells what changes in it.
    """

    def __init__(self, root: Path, events: Events) -> None:
        self._root = root
        self._events = events

    def application(self) -> Starlette:
        """Return the application; who may ask is decided before it."""
        application = Starlette(
            routes=[
                Route("/", self._page),
                Route("/api/data", self._data),
                Route("/api/events", self._stream),
                Route("/api/run/{name}", self._run),
                Route("/files/{name}/{path:path}", self._file),
                Route("/api/stop", self._acting(actions.stop), methods=["POST"]),
                Route("/api/tag", self._acting(actions.tag), methods=["POST"]),
            ],
            exception_handlers={
                HTTPException: _refused,
                NotThere: _not_there,
                TooLarge: _too_large,
                Exception: _failed,
            },
        )
        application.router.redirect_slashes = False
        return application

    # ---- reading -----------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(page(None, nonce), headers={"Content-Security-Policy": policy(nonce)})

    async def _data(self, request: Request) -> Response:
        state, packed = await self._events.data()
        tag = f'"{state}"'
        headers = {"ETag": tag, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            packed = await in_thread(lambda: gzip.decompress(packed))
        return Response(packed, headers=headers, media_type="application/json")

    async def _stream(self, request: Request) -> Response:
        # A browser that comes back by itself says in the header what it had last.
        since = request.headers.get("last-event-id") or request.query_params.get("since")
        number = int(since) if since and since.isascii() and since.isdigit() else None
        if since and number is None:
            return JSONResponse({"error": "since is the number of a state"}, 400)
        if request.method == "HEAD":  # a stream has no end
            return Response(media_type="text/event-stream")
        stream = self._events.stream(number)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _run(self, request: Request) -> Response:
        name = request.path_params["name"]
        return _json(await in_thread(lambda: self._about(name)))

    def _about(self, name: str) -> dict[str, Any]:
        """Return what there is of a run."""
        try:
            actions.checked_run(self._root, name)
        except ConfigError:
            raise NotThere from None
        folder = self._root / name
        if folder.is_symlink():  # what is behind a link is not given out
            raise NotThere
        files = RunFiles(folder)
        paths = {"config": files.config, "metrics": files.metrics, "run": files.run}
        about: dict[str, Any] = {
            what: {} if os.path.islink(path) else _masked(read_record(path) or {})
            for what, path in paths.items()
        }
        log = [] if os.path.islink(files.log) else last_lines(files.log, _LOG_LINES, _LOG_BYTES)
        text = "\n".join(map(mask_text, log))
        return {**about, "log": text, "files": listed(str(folder))}

    async def _file(self, request: Request) -> Response:
        name, path = request.path_params["name"], request.path_params["path"]
        file = await in_thread(lambda: open_file(str(self._root), name, path))
        if request.method == "HEAD":
            os.close(file.fd)
            return Response(headers=file.headers())
        return StreamingResponse(file.chunks(), headers=file.headers())

    # ---- writing -----------------------------------------------------------------------------

    def _acting(self, action: _Action) -> Callable[[Request], Awaitable[Response]]:
        async def act(request: Request) -> Response:
            asked = None
            try:
                asked = json.loads(await asyncio.wait_for(request.body(), _BODY_SEC))
            except asyncio.TimeoutError:
                return JSONResponse({"error": "the request does not end"}, 408)
            except (ValueError, RecursionError):
                pass
            if not isinstance(asked, dict):
                return JSONResponse({"error": "the body is no JSON object"}, 400)
            try:
                said = await in_thread(lambda: action(self._root, asked))
            except ConfigError as exc:
                return _json({"error": str(exc)}, 400)
            except (ZtxexpError, OSError) as exc:
                return _json({"error": str(exc)}, 409)
            if isinstance(asked.get("run"), str):
                await self._events.tell(asked["run"])
            return _json({"ok": True, "said": said})

        return act


def _masked(value: Any, key: str = "") -> Any:
    """Return a value without secrets, as the rest of the page shows it."""
    if isinstance(value, str):
        return mask_value(key, value)
    if isinstance(value, dict):
        return {name: _masked(one, name) for name, one in value.items()}
    return [_masked(one, key) for one in value] if isinstance(value, list) else value


def _json(value: Any, status: int = 200) -> Response:
    return Response(json_bytes(value), status, media_type="application/json")


async def _refused(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    texts = {404: "there is nothing of that name", 405: "it is not asked for so"}
    return JSONResponse({"error": texts.get(status, "it cannot be answered")}, status)


async def _not_there(request: Request, exc: Exception) -> Response:
    return JSONResponse({"error": "there is no such run or file"}, 404)


async def _too_large(request: Request, exc: Exception) -> Response:
    return JSONResponse({"error": "the request is too large"}, 413, {"Connection": "close"})


async def _failed(request: Request, exc: Exception) -> Response:
    return JSONResponse({"error": "it has failed; the terminal says why"}, 500)
