"""What the trackers share: names, times and numbers as their services take them."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import datetime, timezone
from typing import Any

from ztxexp_core import MetricEvent, RunContext


def named_metrics(event: MetricEvent) -> dict[str, float]:
    """Return an event's metrics, named ``<split>/<metric>`` for splits other than ``train``."""
    if event.split == "train":
        return event.metrics
    return {f"{event.split}/{name}": value for name, value in event.metrics.items()}


def seconds(timestamp: object) -> float | None:
    """Return an ISO 8601 time in seconds since 1970; ``None`` for what is none."""
    try:
        moment = datetime.fromisoformat(str(timestamp).replace("Z", "+00:00"))
    except ValueError:  # an event made by hand may have any text
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def is_number(value: object) -> bool:
    """Return whether a plain value fits into a float; NaN and infinities come as texts."""
    if value in ("NaN", "Infinity", "-Infinity"):
        return True
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return isinstance(value, float) or abs(value) <= sys.float_info.max


def marked(safe: str, name: str, length: int) -> str:
    """Return a name that was changed to fit, with a mark that follows from the name alone.

    So it is the same in every run, and no other name becomes the same.

    Args:
        safe: the name as the service takes it, perhaps too long.
        name: the name as the user wrote it.
        length: characters that the service takes.
    """
    digest = hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=4).hexdigest()
    return f"{safe[: length - 9]}-{digest}"


def run_record(ctx: RunContext) -> dict[str, Any]:
    """Return the run's own ``run.json``; empty for a run that has none."""
    try:
        record = json.loads((ctx.run_dir / "run.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
