"""What to write here, where a run failed by a call as other tools have it."""

from __future__ import annotations

from typing import Any

_LOG = 'write ctx.log_metric(step=1, metrics={"loss": 0.3})'
_LOGGERS = frozenset({"log", "log_metrics", "log_dict", "log_scalar", "add_scalar", "report"})


def habit_hint(exc: BaseException, config: Any) -> str:
    """Return a hint for the end of the message of a function's error; empty where none fits."""
    if isinstance(exc, TypeError) and "log_metric()" in str(exc):
        return f" ({_LOG})"
    if not isinstance(exc, AttributeError):
        return ""
    owner, name = exc.obj, exc.name
    if type(owner).__name__ == "RunContext" and name in _LOGGERS:
        return f" ({_LOG})"
    if type(owner) is dict and type(config) is dict and name in config:
        return f" (the configuration is a dict: write ctx.config[{name!r}])"
    return ""
