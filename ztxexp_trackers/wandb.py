"""The ``wandb`` tracker: every run of a sweep becomes a run of Weights & Biases.

Each run has its own handle, so runs of one process never mix. Without a network set
``WANDB_MODE=offline``; what is then written below the run's folder can be sent by ``wandb sync``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ztxexp_core import MetricEvent, RunContext, RunMetadata, importing, plain
from ztxexp_trackers._common import named_metrics, seconds

# W&B drops rows whose step is not larger than the last one, as that of a validation after a
# training epoch. So its own step only counts rows, and this metric carries the step of the event.
STEP_METRIC = "event/step"

_TAG_LENGTH, _ARTIFACT_NAME_LENGTH = 64, 128  # characters, limits of W&B
_ARTIFACT_TYPES = {
    "model": ("ckpt", "gguf", "h5", "joblib", "keras", "onnx", "pkl", "pt", "pth", "safetensors"),
    "dataset": ("arrow", "csv", "feather", "jsonl", "npy", "npz", "parquet", "tsv"),
    "image": ("gif", "jpeg", "jpg", "pdf", "png", "svg", "webp"),
}
_TYPE_OF = {f".{suffix}": kind for kind, names in _ARTIFACT_TYPES.items() for suffix in names}

_starting = threading.Lock()
_running: list[Any] = []  # the handles of this process that have not ended
_ending: list[Any] = []  # those whose finish has begun, and is under way or has failed


class WandbTracker:
    """Sends runs to Weights & Biases.

    Metrics are drawn over the step of their event. Those of a split other than ``train`` are named
    ``<split>/<metric>``. Your own ``wandb.log(...)`` within ``exp_fn`` lands in the same run,
    unless several runs share the process at the same time. A run that is resumed or replayed goes
    on under the same id: offline in a further folder, which ``wandb sync`` puts behind the first.

    Args:
        project: name of the project.
        entity: user or team.
        log_artifacts: whether all that lies in the run's ``artifacts_dir`` at its end becomes
            artifacts of W&B, and not only what was given to ``ctx.log_artifact``.
        kwargs: further arguments of ``wandb.init``; they win over what the tracker would set:
            ``id`` and ``name`` (the run id), ``config``, ``dir``, ``group``, ``tags``, ``job_type``
            (the experiment's name), ``resume`` and ``reinit``.

    Example:
        >>> pipeline.track("wandb", project="digits", mode="offline")
    """

    requires = ("wandb",)

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        *,
        log_artifacts: bool = False,
        **kwargs: Any,
    ):
        self.project = project
        self.entity = entity
        self.log_artifacts = log_artifacts
        self.kwargs = kwargs
        self._runs: dict[Path, _Followed] = {}

    @property
    def destination(self) -> str:
        """Host (where the environment sets one), entity and project; offline is another place."""
        variable = os.environ.get
        mode = self.kwargs.get("mode") or variable("WANDB_MODE") or "online"
        parts = (
            urlsplit(variable("WANDB_BASE_URL") or "").hostname,
            self.entity or variable("WANDB_ENTITY"),
            self.project or variable("WANDB_PROJECT") or "uncategorized",
        )
        place = "/".join(part for part in parts if part)
        return place if mode in ("online", "run", "shared") else f"{place} ({mode})"

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Start a W&B run with the configuration, or go on with the one that has this id.

        Raises:
            ImportError: wandb is not installed.
        """
        described = {**self._described(ctx, meta), **self.kwargs}
        run = _begin(_wandb(), project=self.project, entity=self.entity, **described)
        self._runs[ctx.run_dir] = _Followed(run, ctx.run_id)
        try:
            run.define_metric(STEP_METRIC, hidden=True, summary="none")
            run.define_metric("*", step_metric=STEP_METRIC)
            run.summary.update(_known(experiment_name=meta.experiment_name, group=meta.group))
        except BaseException:  # nobody will end a run that did not start
            del self._runs[ctx.run_dir]
            _finish(run, exit_code=1)
            raise

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Log one row with the event's own step and time; nothing where the run did not start."""
        followed = self._runs.get(ctx.run_dir)
        if followed is not None:
            when = _known(_timestamp=seconds(event.timestamp))
            followed.run.log({**named_metrics(event), STEP_METRIC: event.step, **when})

    def on_params(self, ctx: RunContext, params: dict[str, Any]) -> None:
        """Add to the run's configuration."""
        followed = self._runs.get(ctx.run_dir)
        if followed is not None:
            followed.run.config.update(plain(params), allow_val_change=True)

    def on_artifact(self, ctx: RunContext, path: Path, name: str) -> None:
        """Log a file or folder as an artifact of the run, ``<run id>-<name>``.

        Its type is ``model``, ``dataset`` or ``image`` by its suffix, else ``artifact``.
        """
        followed = self._runs.get(ctx.run_dir)
        if followed is not None:
            followed.log_artifact(path, name)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Write the summary and finish the run, as failed (exit code 1) or not (0)."""
        followed = self._runs.pop(ctx.run_dir, None)
        if followed is None:
            return
        try:
            followed.run.summary.update(plain(summary))
            if self.log_artifacts:
                followed.log_rest(ctx.artifacts_dir)
        finally:
            _finish(followed.run, exit_code=int(summary.get("status") == "failed"))

    def _described(self, ctx: RunContext, meta: RunMetadata) -> dict[str, Any]:
        """Return the arguments of ``wandb.init`` for a run, without unknown ones.

        The id is given because ``WANDB_RUN_ID`` would make one run of a whole sweep.
        """
        # These arguments of the user exclude "resume".
        resumed = (ctx.attempt > 1 or ctx.replayed) and not (
            self.kwargs.keys() & {"resume_from", "fork_from"}
        )
        return _known(
            id=re.sub(r"[/\\#?%:]", "-", ctx.run_id),
            name=ctx.run_id,
            config=plain(ctx.config),
            dir=os.environ.get("WANDB_DIR") or str(ctx.run_dir),
            group=meta.group,
            tags=_tags(meta.tags),
            job_type=meta.experiment_name,
            resume="allow" if resumed else None,
        )


class _Followed:
    """A run that is under way, and the names of its artifacts."""

    def __init__(self, run: Any, run_id: str):
        self.run, self._run_id = run, run_id
        self._artifacts: set[str] = set()

    def log_artifact(self, path: Path, name: str) -> None:
        kind = _TYPE_OF.get(path.suffix.lower(), "artifact") if path.is_file() else "artifact"
        self.run.log_artifact(str(path), name=_artifact_name(self._run_id, name), type=kind)
        self._artifacts.add(name)

    def log_rest(self, folder: Path) -> None:
        for path, name in list(self._rest(folder, "")):
            self.log_artifact(path, name)

    def _rest(self, folder: Path, prefix: str) -> Iterator[tuple[Path, str]]:
        """Yield what was not logged, folders in one piece where nothing in them was."""
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            name = prefix + path.name
            if name in self._artifacts:
                continue
            if any(known.startswith(f"{name}/") for known in self._artifacts):
                yield from self._rest(path, f"{name}/")
            elif path.is_file() or any(inner.is_file() for inner in path.rglob("*")):
                yield path, name


def _wandb() -> Any:
    with importing("wandb", "tracker", "wandb", 'pip install "ztxexp[wandb]"'):
        import wandb
    return wandb


def _begin(wandb: Any, **arguments: Any) -> Any:
    """Start a run, with a new service where that of the process has died."""
    for left in [run for run in _running if run.id == arguments.get("id")]:
        # It did not end, perhaps because a call took too long; W&B takes an id once at a time.
        with contextlib.suppress(Exception):
            _finish(left, exit_code=1)
    with _starting:
        try:
            run = wandb.init(**{"reinit": _reinit(wandb), **arguments})
        except Exception as exc:
            if not _is_lost_service(exc):
                raise
            # All runs of this process have died with it, and wandb would go on asking it.
            _ending.extend(_running)
            _running.clear()
            with contextlib.suppress(Exception, SystemExit):
                wandb.teardown()
            os.environ.pop("WANDB_SERVICE", None)  # its address
            run = wandb.init(**{"reinit": "finish_previous", **arguments})
        _running.append(run)
    return run


def _finish(run: Any, exit_code: int) -> None:
    # Before the call: a finish may take long, or fail, and later runs must not wait for it.
    _remove(run, _running)
    _ending.append(run)
    run.finish(exit_code=exit_code)
    _remove(run, _ending)


def _remove(run: Any, runs: list[Any]) -> None:
    runs[:] = [other for other in runs if other is not run]


def _reinit(wandb: Any) -> str:
    """Return the ``reinit`` for a new run; called under the lock.

    If it is the only run, it becomes the process-wide one, which ``wandb.log`` in user code
    needs. Beside another (the user's own, or one in another thread) it must not replace that.
    """
    current = wandb.run
    taken = current is not None and not any(current is run for run in _ending)
    return "create_new" if _running or taken else "finish_previous"


def _is_lost_service(exc: BaseException) -> bool:
    # A broken local socket; troubles of the network come as errors of wandb's own.
    return isinstance(exc, ConnectionError) or type(exc).__name__ == "WandbServiceConnectionError"


def _artifact_name(run_id: str, name: str) -> str:
    """Return a name that W&B accepts, another one for each run and name.

    Names of artifacts are shared by all runs of a project.
    """
    full = f"{run_id}-{name}"
    safe = re.sub(r"[^\w.-]", "_", full.replace("/", "--"), flags=re.ASCII)
    if len(safe) <= _ARTIFACT_NAME_LENGTH and safe.replace("--", "/") == full:
        return safe
    digest = hashlib.blake2b(full.encode(errors="replace"), digest_size=4).hexdigest()
    return f"{safe[: _ARTIFACT_NAME_LENGTH - 9]}-{digest}"


def _tags(tags: dict[str, str] | list[str] | None) -> list[str] | None:
    if not tags:
        return None
    words = [f"{k}={v}" for k, v in tags.items()] if isinstance(tags, dict) else map(str, tags)
    return list(dict.fromkeys(word[:_TAG_LENGTH] for word in words if word))


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
