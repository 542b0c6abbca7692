"""The argument of the experiment function: the run, and the calls that log."""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

from ztxexp_core.errors import MetricError
from ztxexp_core.records import RunMetadata
from ztxexp_core.store.files import make_folder
from ztxexp_core.store.sink import FileSink


@dataclass(slots=True)
class RunContext:
    """The argument of the experiment function: ``exp_fn(ctx) -> dict | None``.

    A returned mapping becomes ``metrics.json``; a number, a list or a text is kept there under the
    name ``result``; ``None`` writes none and still succeeds.

    Attributes:
        run_id: unique id, also the name of the run's folder.
        run_dir: absolute path of the run's folder.
        config: this attempt's own copy of the configuration.
        logger: writes to ``run.log`` of this run.
        meta: where the run comes from.
        attempt: number of the present attempt, from 1; over 1 there may be a checkpoint to
            continue from (since 2.0).
        checkpoints_dir: folder for checkpoints, which later attempts of the run find again; made
            when it is first asked for (since 2.0).
        artifacts_dir: folder for models, figures, tables and other files of yours (since 2.0).
        replayed: whether the run is sent to a tracker from disk, see :func:`ztxexp.sync`
            (since 2.0).
        total_steps: how many steps this attempt will take; set it, and the display of the launch
            and ``ztxexp status`` show ``step 13/20`` (since 2.0).

    Example:
        >>> def exp_fn(ctx):
        ...     ctx.logger.info("lr=%s", ctx.config["lr"])
        ...     ctx.log_metric(step=1, metrics={"loss": 0.7})
        ...     return {"score": 1.0}
    """

    run_id: str
    run_dir: Path
    config: dict[str, Any]
    logger: logging.Logger
    meta: RunMetadata = field(default_factory=RunMetadata)
    _metrics_jsonl_path: Path | None = field(default=None, repr=False)
    _trackers: list[Any] = field(default_factory=list, repr=False)
    _sink: FileSink | None = field(default=None, repr=False)
    replayed: bool = False
    _total_steps: int | None = field(default=None, repr=False)

    @property
    def total_steps(self) -> int | None:
        """How many steps this attempt will take; ``None`` where nobody has said it."""
        return self._total_steps

    @total_steps.setter
    def total_steps(self, total: int) -> None:
        if isinstance(total, bool) or not isinstance(total, (SupportsIndex, type(None))):
            raise MetricError(f"total_steps must be a whole number or None, got {total!r}")
        self._total_steps = None if total is None else max(0, operator.index(total))
        (self._sink or self._own_sink()).set_total_steps(self._total_steps or 0)

    @property
    def attempt(self) -> int:
        """Number of the present attempt, from 1."""
        return self.meta.attempt or 1

    @property
    def checkpoints_dir(self) -> Path:
        """Folder for checkpoints, which later attempts of the run find again; made if missing."""
        folder = self.run_dir / "checkpoints"
        if not self.replayed:
            make_folder(str(folder))
        return folder

    @property
    def artifacts_dir(self) -> Path:
        """Folder for models, figures, tables and other files."""
        return self.run_dir / "artifacts"

    def __reduce__(self) -> tuple[Any, ...]:
        # In a process that the run starts it writes the same files, but calls no trackers.
        fields = (self.run_id, self.run_dir, self.config, self.logger, self.meta)
        return RunContext, (*fields, self._metrics_jsonl_path)

    def log_metric(
        self,
        step: int,
        metrics: Mapping[str, SupportsFloat],
        split: str = "train",
        phase: str = "fit",
    ) -> None:
        """Append one step of a curve to ``metrics.jsonl`` and send it to the trackers.

        Safe to call from several threads. Values may be Python, NumPy and zero-dimensional tensor
        numbers, NaN and infinities too. Return final metrics from the function instead.

        Args:
            step: an integer (epoch or global step).
            metrics: name to number.
            split: part of the data.
            phase: what the program is doing.

        Raises:
            MetricError: the step is not an integer (a ``ValueError``). The event is not recorded.
            RunEndedError: the run is over.

        Example:
            >>> ctx.log_metric(step=1, metrics={"loss": 0.91}, split="valid")
        """
        (self._sink or self._own_sink()).log_metric(step, metrics, split, phase)

    def log_params(self, params: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Record properties of the run that are not in its configuration, such as the model size.

        Written to ``extras.jsonl``, then sent to the trackers that take parameters (since 2.0).

        Args:
            params: name to value, as in a configuration.
            more: further parameters, by keyword.

        Raises:
            TypeError: ``params`` is not a mapping.
            RunEndedError: the run is over.

        Example:
            >>> ctx.log_params(n_parameters=1_200_000, device="cuda:0")
        """
        (self._sink or self._own_sink()).log_params(_merged(params, more))

    def log_artifact(self, path: str | Path, name: str | None = None) -> Path:
        """Keep a file or folder among the run's artifacts.

        It is copied into ``artifacts_dir``, unless it is there already, and then sent to the
        trackers that take artifacts (since 2.0).

        Args:
            path: the file or folder. Runs in workers share the working folder: a relative path is
                the same file for all of them, see ``workdir`` of :meth:`ExperimentPipeline.run`.
            name: the name of the artifact, such as ``"figures/loss.png"``; its own by default. An
                earlier artifact of that name is replaced.

        Returns:
            The path of the artifact.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the name leads out of the folder.
            RunEndedError: the run is over.

        Example:
            >>> torch.save(model.state_dict(), ctx.artifacts_dir / "model.pt")
            >>> ctx.log_artifact(ctx.artifacts_dir / "model.pt")
        """
        return (self._sink or self._own_sink()).log_artifact(path, name)

    def set_summary(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set final metrics before the end, such as the best score so far.

        Written to ``extras.jsonl`` at once, and at the end to ``metrics.json``, even if the run
        fails. Values that the function returns take precedence (since 2.0).

        Args:
            values: name to value; a later call replaces values of an earlier one.
            more: further values, by keyword.

        Raises:
            TypeError: ``values`` is not a mapping.
            RunEndedError: the run is over.

        Example:
            >>> ctx.set_summary(best_accuracy=0.93, best_epoch=7)
        """
        (self._sink or self._own_sink()).set_summary(_merged(values, more))

    def _own_sink(self) -> FileSink:
        # Of a context made by hand, or in a process that the run started: without trackers.
        path = self._metrics_jsonl_path
        self._sink = FileSink(self.run_dir, self.meta.attempt, self.logger, path)
        return self._sink


def _merged(values: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    if values is not None and not isinstance(values, Mapping):
        raise TypeError(f"names and values must be a mapping, got {type(values).__name__}")
    return {**(values or {}), **more}
