"""The page of a report as HTML: one file that needs nothing else, or the live page's frame.

What runs say is in the page as data only: JSON in which no sign of HTML stands, or base64. A policy
in the page lets nothing run but its own script, and nothing leave the machine.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from ztxexp.report.schema import Best, Payload
from ztxexp.text.format import duration, plural
from ztxexp_core.errors import ZtxexpError

_STATIC = Path(__file__).parent / "static"
_PLAIN_BYTES = 64 * 1024  # of JSON; more is compressed
_ROWS_SHOWN = 10  # without scripts
_IN_JSON = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_CLOSING_SCRIPT = re.compile(r"</(?=script)", re.IGNORECASE)
_CLOSING_STYLE = re.compile(r"</(?=style)", re.IGNORECASE)


def page(payload: Payload | None, nonce: str = "") -> str:
    """Return a whole page.

    Args:
        payload: what it shows; ``None`` for the live page, whose script asks the server.
        nonce: of the live page's policy; a file names the hashes of its script and style.

    Raises:
        ZtxexpError: this installation lacks the script or the style.

    Example:
        >>> page(payload(RunTable.read("results"))).startswith("<!DOCTYPE html>")
        True
    """
    script, style = static()
    mark = f' nonce="{html.escape(nonce)}"' if nonce else ""
    title = "ztxexp" if payload is None else f"{payload['title']} - ztxexp"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy(nonce)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="robots" content="noindex">',
        '<link rel="icon" href="data:,">',
        f"<title>{_text(title)}</title>",
        f"<style{mark}>{style}</style>",
        "</head>",
        "<body>",
        '<div id="app"></div>',
        f"<noscript>{_without_script(payload)}</noscript>",
    ]
    if payload is not None:
        parts.append(_data(payload))
    parts += [f"<script{mark}>{script}</script>", "</body>", "</html>", ""]
    return "\n".join(parts)


def policy(nonce: str = "") -> str:
    """Return the content security policy of a file, or with a nonce that of the live page.

    Example:
        >>> policy("abc").split("; ")[1]
        "script-src 'nonce-abc'"
    """
    script, style = static()
    source = f"'nonce-{html.escape(nonce)}'" if nonce else ""
    connect = "'self'" if nonce else "'none'"
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {source or _hash(script)}",
            f"style-src {source or _hash(style)}",
            "img-src data: blob:",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


@functools.lru_cache(maxsize=1)
def static() -> tuple[str, str]:
    """Return the page's script and its style.

    Raises:
        ZtxexpError: this installation lacks one of them.
    """
    texts = []
    for name in ("report.js", "report.css"):
        try:
            text = (_STATIC / name).read_text(encoding="utf-8")
        except OSError as exc:
            raise ZtxexpError(
                f"{_STATIC / name} cannot be read ({exc.strerror or exc}): this installation lacks "
                "the page of the report; install ztxexp again"
            ) from exc
        texts.append(text.replace("\r\n", "\n").strip())
    script, style = texts
    # In a script or a style these would end it, or hide its end; as escapes they mean the same.
    script = _CLOSING_SCRIPT.sub(r"<\\/", script).replace("<!--", "\\x3c!--")
    return script, _CLOSING_STYLE.sub(r"<\\/", style)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _data(payload: Payload) -> str:
    """Return the data in a script that no browser runs."""
    data = json_of(payload)
    if len(data) > _PLAIN_BYTES:
        packed = base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
        return f'<script type="application/octet-stream" id="data-gz">{packed}</script>'
    text = data.decode()
    for sign, escaped in _IN_JSON.items():
        text = text.replace(sign, escaped)
    return f'<script type="application/json" id="data">{text}</script>'


def json_of(payload: Payload) -> bytes:
    """Return a payload as JSON; a number that is not finite is ``null``."""
    return orjson.dumps(payload)


# ---- without scripts --------------------------------------------------------------------------


def _text(text: object) -> str:
    """Return a text for HTML, in which it is nothing but text."""
    return html.escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text)))


def _without_script(payload: Payload | None) -> str:
    """Return what a browser shows that runs no scripts: the head and the best configurations."""
    if payload is None:
        return "<p>This page needs JavaScript. In a shell: ztxexp status, ztxexp table.</p>"
    parts = [
        f"<h1>{_text(payload['title'])}</h1>",
        f"<p>{_text(head_line(payload))}</p>",
        *(f"<p>{_text(note)}</p>" for note in payload["notes"]),
        *_best_table(payload),
        "<p>The table of all runs, the curves and the figures need JavaScript.</p>",
    ]
    return "\n".join(parts)


def head_line(payload: Payload) -> str:
    """Return one line about the runs of a report.

    Example:
        >>> head_line(payload)
        '12 runs: 11 succeeded, 1 failed; code v1; 42 s of computing'
    """
    runs = payload["runs"]
    statuses = runs["status"]
    order = ("succeeded", "failed", "running", "skipped")
    counts = [f"{statuses.count(word)} {word}" for word in order if word in statuses]
    codes = sorted({code for code in runs["code"] if code}, key=lambda code: (len(code), code))
    seconds = sum(one for one in runs["seconds"] if one)
    parts = [plural(len(statuses), "run") + (f": {', '.join(counts)}" if counts else "")]
    if codes:
        parts.append(f"code {', '.join(codes[:5])}{', ...' if len(codes) > 5 else ''}")
    if seconds:
        parts.append(f"{duration(seconds)} of computing")
    return "; ".join(parts)


def _best_table(payload: Payload) -> Iterator[str]:
    metric = payload["default_metric"]
    rows = [one for one in payload["best"] if one["metric"] == metric][:_ROWS_SHOWN]
    if not rows:
        return
    keys = list(rows[0]["values"])
    over = any(one["n"] > 1 for one in rows)
    yield f"<table><caption>The best by {_text(metric)}</caption>"
    titles = [*keys, str(metric), *(["std", "n"] if over else [])]
    yield f"<tr>{''.join(f'<th>{_text(title)}</th>' for title in titles)}</tr>"
    for one in rows:
        yield f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in _cells(one, keys, over))}</tr>"
    yield "</table>"


def _cells(one: Best, keys: Sequence[str], over: bool) -> Iterator[object]:
    yield from ("" if one["values"][key] is None else one["values"][key] for key in keys)
    yield f"{one['mean']:.6g}"
    if over:
        yield "" if one["std"] is None else f"{one['std']:.2g}"
        yield one["n"]
