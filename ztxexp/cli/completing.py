"""What a shell completes: names of runs, metrics and keys. Quick, and never an error."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from ztxexp.project import results_root

_MOST = 200  # suggestions


def complete_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the short id of a run, with the keys that vary beside it."""
    try:
        if incomplete.startswith("@best:"):
            metrics = complete_metric(ctx, param, incomplete.removeprefix("@best:"))
            return [CompletionItem(f"@best:{metric}") for metric in metrics]
        from ztxexp.results.names import NamedRuns

        runs = NamedRuns.of(results_root(ctx.params.get("root")))
        special = [CompletionItem(word) for word in ("@last", "@failed", "@best:")]
        items = [
            CompletionItem(short, help=runs.label(at) if at < _MOST else None)
            for at, short in enumerate(runs.short)
            if short.startswith(incomplete)
        ]
        return [one for one in special if incomplete and one.value.startswith(incomplete)] + items
    except Exception:
        return []


def complete_metric(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a metric."""
    return _beginning(_names(ctx, "metrics.json"), incomplete)


def complete_key(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a key of the configuration; the last one of several with commas."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning(_names(ctx, "config.json"), last)]


def complete_any_key(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a metric or a key of the configuration; the last one of several with commas."""
    before, comma, last = incomplete.rpartition(",")
    names = [*_names(ctx, "metrics.json"), *_names(ctx, "config.json")]
    return [f"{before}{comma}{name}" for name in _beginning(names, last)]


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    shown = [name for name in names if name.isprintable() and name.startswith(incomplete)]
    return sorted(set(shown))[:_MOST]


def _names(ctx: click.Context, filename: str) -> list[str]:
    try:
        from ztxexp.results.index import Kind, read_all
        from ztxexp.results.keys import flattened
        from ztxexp_core.store.run_folder import run_names

        root = str(results_root(ctx.params.get("root")))
        (table,) = read_all(root, run_names(root), [Kind(filename)])
        return flattened(table).names()
    except Exception:
        return []
