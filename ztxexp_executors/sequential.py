"""One run after the other in the launching process: nothing to start, easy to debug."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ztxexp_core import RunOutcome, RunSpec, hookimpl

supports = frozenset({"in_process"})


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec], run_one: Callable[[RunSpec], RunOutcome]
) -> Iterator[RunOutcome]:
    """Run here and now."""
    for spec in specs:
        yield run_one(spec)
