"""Who is answered: only a browser of whoever started the server, and only from its own page.

Every request passes :class:`Guard` before any route. A page of a stranger that is open in the same
browser, another user of the machine, and a name of the network that leads here (DNS rebinding) get
403 and nothing else.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ztxexp.text.format import sanitize_for_terminal

_log = logging.getLogger("ztxexp")

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_READS, _WRITES = ("GET", "HEAD"), ("POST",)
_MOST_BODY = 64 * 2**10  # bytes of a request
_MOST_ADDRESS = 8 * 2**10  # characters
_NO_ENTRY = (
    "403: this page is only for whoever started it.\n\nOpen the address that `ztxexp ui` has "
    "printed, with its token. If you have just followed it from another page, reload this one.\n"
)

# A browser sends a strict cookie only where our own page leads, and not to who follows the address
# from another one, such as a terminal in a page. This one has no data, and leads to itself.
_COME_AGAIN = (
    '<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    "<title>ztxexp</title><p>Opening the page ...</p>"
)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""What stands in the head of every response."""


def policy(nonce: str = "") -> str:
    """Return the Content-Security-Policy of a response.

    Args:
        nonce: of the page's own scripts and styles; without one nothing at all may be loaded.
    """
    rules = ["default-src 'none'", "base-uri 'none'", "form-action 'none'"]
    rules.append("frame-ancestors 'none'")
    if nonce:
        rules += [
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            "connect-src 'self'",
            "img-src data: blob:",
        ]
    return "; ".join(rules)


class Keys:
    """The secrets of one server: the token of the printed address, and what the cookie holds.

    Args:
        port: of the server; cookies are shared by all ports of a host, so it is in the name.
    """

    def __init__(self, port: int):
        self.token = secrets.token_urlsafe(24)
        self._once: set[str] = set()
        self.cookie = f"ztxexp-{port}"
        self._session = secrets.token_urlsafe(32)

    def once(self) -> str:
        """Return a token that opens the page once.

        For the address that a browser is started with: other users can read its command line.
        """
        token = secrets.token_urlsafe(24)
        self._once.add(token)
        return token

    def opens(self, token: str) -> bool:
        """Return whether a text is the token, or one that opens once and has not yet."""
        if hmac.compare_digest(token.encode(), self.token.encode()):
            return True
        for known in self._once:
            if hmac.compare_digest(token.encode(), known.encode()):
                self._once.remove(known)
                return True
        return False

    def knows(self, cookies: str) -> bool:
        """Return whether a header ``Cookie`` holds the session."""
        try:
            morsel = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        value = morsel.value if morsel is not None else ""
        return hmac.compare_digest(value.encode(), self._session.encode())

    def give(self, response: Response) -> None:
        """Put the session into a response."""
        response.set_cookie(
            self.cookie, self._session, httponly=True, samesite="strict", path="/", secure=False
        )


class Hosts:
    """The names under which the server is asked for.

    Args:
        names: further names than those of this machine for itself.
    """

    def __init__(self, names: Iterable[str] = ()):
        self._names = {*LOOPBACK_NAMES, *(name.lower() for name in names)}

    def has(self, header: str, server_address: str) -> bool:
        """Return whether a header ``Host`` names this server.

        Any port will do: a tunnel (``ssh -L``) may begin at another one.

        Args:
            header: such as ``localhost:8417`` or ``[::1]:8417``.
            server_address: at which the connection has arrived; it may be named by its number.
        """
        name = host_of(header)
        return name is not None and (name in self._names or _is_same(name, server_address))


def host_of(header: str) -> str | None:
    """Return the name in a header ``Host``; ``None`` where it is not well-formed.

    Example:
        >>> host_of("[::1]:8417"), host_of("LOCALHOST"), host_of("a@b")
        ('::1', 'localhost', None)
    """
    if header.startswith("["):
        name, bracket, port = header[1:].partition("]")
        is_address = _address(name) is not None
        if not bracket or not is_address or (port and not port.startswith(":")):
            return None
        port = port[1:] if port else "0"
    else:
        name, colon, port = header.partition(":")
        port = port if colon else "0"
    if not name or not port.isascii() or not port.isdigit():
        return None
    if not all(letter.isalnum() or letter in "-.:_" for letter in name) or not name.isascii():
        return None
    return name.lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_same(name: str, server_address: str) -> bool:
    address = _address(name)
    return address is not None and address == _address(server_address)


class Guard:
    """The outermost part of the application: refuses, limits, and sets the head of responses.

    Args:
        app: what answers a request that may pass.
        keys: the secrets.
        hosts: the names of this server.
        on_request: called at each request that passes.
        access: is given a line for each response; ``None``: none are made.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        hosts: Hosts,
        on_request: Callable[[], None] = lambda: None,
        access: Callable[[str], None] | None = None,
    ):
        self._app = app
        self._keys = keys
        self._hosts = hosts
        self._on_request = on_request
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket: there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        started = time.monotonic()
        head = _Head(send)
        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, head)
            else:
                self._on_request()
                await self._app(scope, _limited(receive), head)
        except Exception as exc:
            problem = f"{type(exc).__name__}: {exc}"
            _log.error("%s %s failed: %s", *_shown(scope), sanitize_for_terminal(problem))
            if not head.status:
                response = JSONResponse({"error": "it has failed; the terminal says why"}, 500)
                await response(scope, receive, head)
        finally:
            if self._access is not None:
                method, path = _shown(scope)
                took = (time.monotonic() - started) * 1000
                self._access(f"{method} {path} {head.status or '-'} {took:.0f} ms")

    def _refusal(self, scope: Scope) -> Response | None:
        """Return why a request does not pass; ``None`` where it does."""
        heads = _heads(scope)
        server = scope.get("server") or ("", 0)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = heads.get("host", "")
        if len(hosts) != 1 or not self._hosts.has(host, str(server[0])):
            return PlainTextResponse("403: this server does not have that name\n", 403)
        method = scope["method"]
        if len(scope.get("raw_path", b"")) + len(scope.get("query_string", b"")) > _MOST_ADDRESS:
            return JSONResponse({"error": "the address is too long"}, 414)
        if method not in (*_READS, *_WRITES):
            return JSONResponse({"error": "only GET, HEAD and POST are answered"}, 405)
        tokens = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        if tokens and method in _READS and scope["path"] == "/":
            if len(tokens) != 1 or not self._keys.opens(tokens[0]):
                return PlainTextResponse(_NO_ENTRY, 403)
            response = RedirectResponse("/", 303)
            self._keys.give(response)
            return response
        if not self._keys.knows(heads.get("cookie", "")):
            if scope["path"] == "/" and _comes_from_elsewhere(heads):
                return HTMLResponse(_COME_AGAIN, 403)
            return PlainTextResponse(_NO_ENTRY, 403)
        return self._not_from_here(method, host, heads)

    @staticmethod
    def _not_from_here(method: str, host: str, heads: dict[str, str]) -> Response | None:
        """Refuse what another page has sent, though the browser has added the cookie."""
        site = heads.get("sec-fetch-site", "none")
        navigates = heads.get("sec-fetch-mode") == "navigate" and method in _READS
        if site not in ("none", "same-origin") and not navigates:
            return JSONResponse({"error": "not from this page"}, 403)
        if method in _WRITES:
            if heads.get("origin", "").lower() != f"http://{host}".lower():
                return JSONResponse({"error": "not from this page: its Origin is another"}, 403)
            if heads.get("x-ztxexp") != "1":
                return JSONResponse({"error": "the header X-Ztxexp: 1 is missing"}, 403)
            if heads.get("content-type", "").partition(";")[0].strip() != "application/json":
                return JSONResponse({"error": "only application/json is taken"}, 415)
        return None


def _comes_from_elsewhere(heads: dict[str, str]) -> bool:
    site, mode = heads.get("sec-fetch-site"), heads.get("sec-fetch-mode")
    return site in ("cross-site", "same-site") and mode == "navigate"


def _heads(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def _shown(scope: Scope) -> tuple[str, str]:
    """Return method and path for a log: never the query, in which the token is."""
    return str(scope["method"]), sanitize_for_terminal(str(scope["path"]))[:200]


class _Head:
    """Adds the headers of every response, and knows whether one has begun."""

    def __init__(self, send: Send):
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message.get("headers", [])}
            own = {**HEADERS, "Content-Security-Policy": policy()}
            extra = [(name.lower().encode(), value.encode()) for name, value in own.items()]
            headers = [*message.get("headers", []), *(one for one in extra if one[0] not in given)]
            message = {**message, "headers": headers}
        await self._send(message)


class TooLarge(Exception):
    """The body of a request is larger than any of ours."""


def _limited(receive: Receive) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > _MOST_BODY:
            raise TooLarge
        return message

    return limited
