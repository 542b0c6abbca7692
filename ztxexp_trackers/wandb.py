"""The ``wandb`` tracker: every run of a sweep becomes a run of Weights & Biases.

Each run has its own handle, so runs of one process never mix. Without a network set
``WANDB_MODE=offline``; what is then written below the run's folder can be sent by ``wandb sync``.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

from ztxexp_core import MetricEvent, PluginImportError, RunContext, RunMetadata, plain

# W&B drops rows whose step is not larger than the last one, as that of a validation after a
# training epoch. So its own step only counts rows, and this metric carries the step of the event.
STEP_METRIC = "event/step"

_TAG_LENGTH = 64  # characters, a limit of W&B
_starting = threading.Lock()
_handles: list[Any] = []  # the runs of this process that have not ended


class WandbTracker:
    """Sends runs to Weights & Biases.

    Metrics are drawn over the step of their event. Those of a split other than ``train`` are named
    ``<split>/<metric>``. Your own ``wandb.log(...)`` within ``exp_fn`` lands in the same run,
    unless several runs share the process at the same time.

    Args:
        project: name of the project.
        entity: user or team.
        kwargs: further arguments of ``wandb.init``; they win over what the tracker would set:
            ``id`` and ``name`` (the run id), ``config``, ``dir``, ``group``, ``tags``, ``job_type``
            (the experiment's name) and ``reinit``.

    Example:
        >>> pipeline.track("wandb", project="digits", mode="offline")
    """

    requires = ("wandb",)

    def __init__(self, project: str | None = None, entity: str | None = None, **kwargs: Any):
        self.project = project
        self.entity = entity
        self.kwargs = kwargs
        self._runs: dict[Path, Any] = {}

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Start a W&B run with the configuration.

        Raises:
            ImportError: wandb is not installed.
        """
        wandb = _wandb()
        with _starting:
            reinit = _reinit(wandb)
            arguments = {"reinit": reinit, **self._described(ctx, meta), **self.kwargs}
            run = wandb.init(project=self.project, entity=self.entity, **arguments)
            _handles.append(run)
        self._runs[ctx.run_dir] = run
        try:
            run.define_metric(STEP_METRIC, hidden=True, summary="none")
            run.define_metric("*", step_metric=STEP_METRIC)
            run.summary.update(_known(experiment_name=meta.experiment_name, group=meta.group))
        except BaseException:  # nobody will end a run that did not start
            self._finish(ctx, exit_code=1)
            raise

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Log one row; nothing where the run did not start."""
        run = self._runs.get(ctx.run_dir)
        if run is not None:
            prefix = "" if event.split == "train" else f"{event.split}/"
            row: dict[str, Any] = {prefix + name: value for name, value in event.metrics.items()}
            row[STEP_METRIC] = event.step
            run.log(row)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Write the summary and finish the run, as failed (exit code 1) or not (0)."""
        run = self._runs.get(ctx.run_dir)
        if run is None:
            return
        try:
            run.summary.update(plain(summary))
        finally:
            self._finish(ctx, exit_code=int(summary.get("status") == "failed"))

    def _finish(self, ctx: RunContext, exit_code: int) -> None:
        run = self._runs.pop(ctx.run_dir)
        try:
            run.finish(exit_code=exit_code)
        finally:
            with _starting:
                _handles[:] = [other for other in _handles if other is not run]

    def _described(self, ctx: RunContext, meta: RunMetadata) -> dict[str, Any]:
        """Return what ``wandb.init`` is told about a run, without what is not known.

        The id is given because ``WANDB_RUN_ID`` would make one run of a whole sweep.
        """
        return _known(
            id=re.sub(r"[/\\#?%:]", "-", ctx.run_id),
            name=ctx.run_id,
            config=plain(ctx.config),
            dir=os.environ.get("WANDB_DIR") or str(ctx.run_dir),
            group=meta.group,
            tags=_tags(meta.tags),
            job_type=meta.experiment_name,
        )


def _wandb() -> Any:
    try:
        import wandb
    except ImportError as exc:
        hint = 'install it with: pip install "ztxexp[wandb]"'
        raise PluginImportError(
            f"tracker 'wandb' needs the package wandb; {hint}", "tracker", "wandb"
        ) from exc
    return wandb


def _reinit(wandb: Any) -> str:
    """Return how a new run stands beside others of this process; called under the lock.

    Alone, it becomes the process-wide run, which ``wandb.log`` in the user's function needs; beside
    another one (the user's own, or of a run in another thread) it must leave that one alone.
    """
    return "create_new" if _handles or wandb.run is not None else "finish_previous"


def _tags(tags: dict[str, str] | list[str] | None) -> list[str] | None:
    if not tags:
        return None
    words = [f"{k}={v}" for k, v in tags.items()] if isinstance(tags, dict) else map(str, tags)
    return list(dict.fromkeys(word[:_TAG_LENGTH] for word in words if word))


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
