"""The ``webhook`` tracker of ztxexp: posts the end of every run to a URL.

A server that is slow or down costs the first run some seconds, and those after it one short try.
What did not arrive is sent by ``ztxexp.sync`` later, under the same ``Idempotency-Key``.
"""

from __future__ import annotations

import hashlib
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO, Any

from ztxexp_core import ConfigError, MetricEvent, RunContext, RunMetadata, encode_json, plain

_FIRST_PAUSE_SEC = 0.1
_down: set[str] = set()  # URLs; of the process, since each run has a tracker of its own


class WebhookError(ConnectionError):
    """The server did not take what was posted."""


class WebhookTracker:
    """Posts ``{"run_id", "status", "metrics", "config", ...}`` as JSON when a run has ended.

    Args:
        url: where to, beginning with ``http://`` or ``https://``.
        headers: further headers, such as ``{"Authorization": "Bearer ..."}``.
        timeout: seconds for one post, all tries and pauses together; over 0 and below the launch's
            ``tracker_timeout`` of 10.

    Raises:
        ConfigError: the URL is none, or ``timeout`` out of range (a ``ValueError``).

    Example:
        >>> pipeline.track("webhook", url="https://example.org/runs")
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, timeout: float = 5.0):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:  # urllib opens files too
            raise ConfigError("webhook: url has to begin with http:// or https:// and name a host")
        if not 0 < timeout < 10:
            raise ConfigError(f"webhook: timeout must be over 0 and below 10, got {timeout!r}")
        self.url = url
        self.headers = dict(headers or {})
        self.timeout = timeout
        # Written down beside the run: without the path, which may hold a secret.
        digest = hashlib.sha256(url.encode()).hexdigest()[:12]
        self.destination = f"{parts.scheme}://{parts.hostname} ({digest})"

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Do nothing: only ends are posted."""

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Do nothing: only ends are posted."""

    def on_run_end(self, ctx: RunContext, summary: Mapping[str, Any]) -> None:
        """Post how the run has ended.

        Raises:
            WebhookError: the server did not take it in time, or refused it.
        """
        meta = ctx.meta
        told = {
            **summary,
            "config": ctx.config,
            "experiment": meta.experiment_name,
            "group": meta.group,
            "tags": meta.tags,
            "replayed": ctx.replayed,
        }
        self._post(encode_json(plain(told)), key=f"{ctx.run_id}-{summary['attempt']}")

    # ---- posting -------------------------------------------------------------------------------

    def _post(self, body: bytes, key: str) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, **self.headers}
        request = urllib.request.Request(self.url, body, headers, method="POST")
        # Many short runs shall not wait in turn for a server that is down.
        seconds, pause = self.timeout / 5 if self.url in _down else self.timeout, _FIRST_PAUSE_SEC
        until = time.monotonic() + seconds
        while (problem := self._try(request, max(until - time.monotonic(), 0.1))) is not None:
            pause *= random.uniform(1.5, 2.5)  # by chance: other workers try again, too
            if self.url in _down or time.monotonic() + pause >= until:
                _down.add(self.url)
                raise WebhookError(f"no success within {seconds:g} s: {problem}")
            time.sleep(pause)
        _down.discard(self.url)

    def _try(self, request: urllib.request.Request, seconds: float) -> str | None:
        """Post once; returns what went wrong, if another try may go better."""
        try:
            with _opener.open(request, timeout=seconds):
                return None
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code in (408, 425, 429) or exc.code >= 500:
                return f"HTTP {exc.code} {exc.reason}"
            raise WebhookError(f"the server refuses it: HTTP {exc.code} {exc.reason}") from exc
        except (OSError, HTTPException) as exc:  # no connection, no answer in time, half of one
            return f"{type(exc).__name__}: {exc}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body, and look like a success."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)
