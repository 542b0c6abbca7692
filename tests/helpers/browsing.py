"""A real browser for tests of pages: it records what a page must not do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from programs import needs

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_LONGEST = 20_000  # milliseconds


def launched() -> Iterator[Any]:
    """Yield a browser without a window; as a fixture of a module."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = needs("chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(
    browser: Any, address: str, width: int = 1280, height: int = 900, allow: str = "", **more: Any
) -> Iterator[Any]:
    """Open a page, wait until it is there, and at the end fail for what it must not do.

    Args:
        browser: from :func:`launched`.
        address: of the page.
        width, height: of the window.
        allow: how the addresses of requests may begin, beside those of files and data.
        **more: for the browser's context, such as ``color_scheme``.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, **more)
    context.set_default_timeout(_LONGEST // 2)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda one: _note(problems, one.type, one.text))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("dialog", lambda dialog: dialog.accept())
    page.on("request", lambda request: _check(problems, request.url, allow))
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=_LONGEST)
    try:
        yield page
        page.wait_for_timeout(50)
        assert problems == []
        assert not page.evaluate("window.pwned")
    finally:
        context.close()


def _note(problems: list[str], kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        problems.append(f"console {kind}: {text}")


def _check(problems: list[str], url: str, allow: str) -> None:
    is_own = bool(allow) and url.startswith(allow)
    if not is_own and not url.startswith(("file:", "data:", "blob:")):
        problems.append(f"a request leaves the machine: {url}")
