"""Functions that are called with a run's configuration, by the names of their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from types import GeneratorType
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.run.current import log_step

CONTEXT = "ctx"
"""The parameter that gets the context."""

_SIGNATURE = inspect.Signature(
    [inspect.Parameter(CONTEXT, inspect.Parameter.POSITIONAL_OR_KEYWORD)]
)


class ByName:
    """An ``exp_fn(ctx)`` that calls a plain function; can be sent to workers.

    A generator yields the steps of a curve; a coroutine is run to its end.

    Args:
        function: the plain function.
        base: defaults of its signature.
        keys: names of its parameters; ``None`` where it takes any.
        required: those without a default.
        takes_context: whether it has a parameter ``ctx``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        base: Mapping[str, Any],
        keys: frozenset[str] | None,
        required: frozenset[str],
        takes_context: bool,
    ):
        self.function = function
        self.base = dict(base)
        self.keys = keys
        self.required = required
        self.takes_context = takes_context
        # As functools.wraps does it: the user's function is the code whose version counts.
        self.__wrapped__ = function
        self.__signature__ = _SIGNATURE
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(function, name):
                setattr(self, name, getattr(function, name))

    def __call__(self, ctx: RunContext) -> Any:
        values: dict[str, Any] = dict(ctx.config)
        if self.takes_context:
            values[CONTEXT] = ctx
        returned = self.function(**values)
        if inspect.iscoroutine(returned):
            import asyncio

            returned = asyncio.run(returned)
        return _logged(ctx, returned) if isinstance(returned, GeneratorType) else returned

    def __reduce__(self) -> tuple[Any, ...]:
        fields = self.function, self.base, self.keys, self.required, self.takes_context
        return ByName, fields


def _logged(ctx: RunContext, steps: Generator[Any, Any, Any]) -> Any:
    """Log what a generator yields; return its own value, or else the last value of each name."""
    last: dict[str, Any] = {}
    while True:
        try:
            item = next(steps)
        except StopIteration as end:
            return end.value if end.value is not None else last or None
        step, values = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        if values is None:
            continue
        if not isinstance(values, Mapping):
            steps.close()
            raise TypeError(
                f"a generator yields a dict of metrics, or (step, dict); got {item!r:.200}"
            )
        log_step(ctx, step, values)
        last.update(values)
