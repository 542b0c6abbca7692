"""The ``wandb`` tracker: every run of a sweep becomes a run of Weights & Biases.

Each run has its own handle, so runs of one process never mix. Without a network set
``WANDB_MODE=offline``; what is then written below the run's folder can be sent by ``wandb sync``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ztxexp_core import (
    ConfigError,
    MetricEvent,
    OptionError,
    RunContext,
    RunMetadata,
    importing,
    lies_within,
    plain,
)
from ztxexp_trackers._common import Runs, is_number, marked, named_metrics, seconds
from ztxexp_trackers._wandb_active import give_names, in_function, of_process
from ztxexp_trackers._wandb_run import STEP_METRIC, SharedRun

_TAG_LENGTH, _NAME_LENGTH = 64, 128  # characters, limits of W&B
_WRITTEN_SEC = 5.0
_MODES = ("online", "offline", "disabled", "shared", "run", "dryrun")
_ARTIFACT_TYPES = {
    "model": ("ckpt", "gguf", "h5", "joblib", "keras", "onnx", "pkl", "pt", "pth", "safetensors"),
    "dataset": ("arrow", "csv", "feather", "jsonl", "npy", "npz", "parquet", "tsv"),
    "image": ("gif", "jpeg", "jpg", "pdf", "png", "svg", "webp"),
}
# Of wandb.init: with others it is imported, to ask it.
_KNOWN_ARGUMENTS = {"entity", "log_artifacts", "dir", "id", "name", "notes", "tags", "config"}
_KNOWN_ARGUMENTS |= {"group", "job_type", "mode", "settings", "save_code", "resume", "reinit"}
_TYPE_OF = {f".{suffix}": kind for kind, names in _ARTIFACT_TYPES.items() for suffix in names}

_starting = threading.Lock()
_running: list[Any] = []  # the handles of this process that have not ended
_destinations: dict[int, str] = {}  # where they send to, by the id() of the handle


class WandbTracker:
    """Sends runs to Weights & Biases.

    Metrics are drawn over the step of their event. Those of a split other than ``train`` are named
    ``<split>/<metric>``. A run that is resumed or replayed goes on under the same id: offline in a
    further folder, which ``wandb sync`` puts behind the first.

    Your own ``wandb.log(...)`` within ``exp_fn`` lands in the same run, also where several runs
    share the process: with ``step=`` at that step, else over W&B's own. A
    ``wandb.init(...)`` there returns that run, with your ``config``, ``name``, ``notes`` and
    ``tags``, and ``finish`` leaves it open until the end. What ``exp_fn`` starts beside it, by
    another ``id`` or by ``reinit``, is finished when it returns.

    Of two such trackers with different projects, the one that starts second has the run under an
    id of its own: W&B takes an id once in a process.

    Args:
        project: name of the project.
        entity: user or team.
        log_artifacts: whether all that lies in the run's ``artifacts_dir`` at its end becomes
            artifacts of W&B, and not only what was given to ``ctx.log_artifact``.
        kwargs: further arguments of ``wandb.init``; they win over what the tracker would set:
            ``id`` (the run id), ``name`` (what differs in the sweep, ``3f2a lr=0.1 seed=2``; the
            run id where nothing does), ``config``, ``dir``, ``group``, ``tags``, ``job_type``
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
        self._runs: Runs[_Followed] = Runs()

    @staticmethod
    def check_options(project: str | None = None, **others: Any) -> None:
        """Refuse a project, mode or argument that ``wandb.init`` would refuse."""
        if project is not None and (len(project) > 128 or set(project) & set("/\\#?%:")):
            raise ConfigError(
                f"WandbTracker: W&B takes no project {project!r}; give at most 128 characters "
                "without / \\ # ? % :"
            )
        mode = others.get("mode")
        if mode is not None and mode not in _MODES:
            raise ConfigError(
                f"WandbTracker: mode must be one of {', '.join(_MODES[:4])}, got {mode!r}"
            )
        give_names()
        unknown = others.keys() - _KNOWN_ARGUMENTS
        known = list(inspect.signature(_wandb().init).parameters) if unknown else []
        for name in sorted(unknown - set(known)):
            raise OptionError(
                f"WandbTracker: wandb.init has no option {name!r}; known: {', '.join(known)}"
            )

    @property
    def destination(self) -> str:
        """Host (where the environment sets one), entity and project; offline is another place."""
        variable = os.environ.get
        parts = (
            urlsplit(variable("WANDB_BASE_URL") or "").hostname,
            self.entity or variable("WANDB_ENTITY"),
            self.project or variable("WANDB_PROJECT") or "uncategorized",
        )
        place = "/".join(part for part in parts if part)
        mode = self._mode
        return place if mode in ("online", "run", "shared") else f"{place} ({mode})"

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Start a W&B run with the configuration, or go on with the one that has this id.

        Raises:
            ImportError: wandb is not installed.
        """
        with self._runs.starting(ctx.run_dir):
            self._start(ctx, meta)

    def _start(self, ctx: RunContext, meta: RunMetadata) -> None:
        described = {**self._described(ctx, meta), **self.kwargs}
        folder = ctx.run_dir / "wandb"
        if folder.is_symlink():
            raise ConfigError(f"WandbTracker: {folder} is a link, which is not written through")
        run = _begin(
            _wandb(),
            self.destination,
            ctx.run_dir,
            project=self.project,
            entity=self.entity,
            **described,
        )
        self._runs[ctx.run_dir] = _Followed(run, ctx.run_id)
        try:
            run.define_metric(STEP_METRIC, hidden=True, summary="none")
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
            values = {k: v for k, v in named_metrics(event).items() if is_number(v)}
            followed.shared.log({**values, STEP_METRIC: event.step, **when})

    def on_params(self, ctx: RunContext, params: dict[str, Any]) -> None:
        """Add to the run's configuration."""
        followed = self._runs.get(ctx.run_dir)
        if followed is not None:
            followed.run.config.update(_sendable(params), allow_val_change=True)

    def on_artifact(self, ctx: RunContext, path: Path, name: str) -> None:
        """Log a file or folder as an artifact of the run, ``<run id>-<name>``.

        Its type is ``model``, ``dataset`` or ``image`` by its suffix, else ``artifact``.
        """
        followed = self._runs.get(ctx.run_dir)
        if followed is not None:
            followed.log_artifact(path, name)

    def in_run(self, ctx: RunContext) -> AbstractContextManager[None]:
        """Let the function's own calls of W&B work within the run; see the class."""
        return in_function(functools.partial(self._shared, ctx.run_dir), ctx.logger)

    def _shared(self, run_dir: Path, wait: bool) -> SharedRun | None:
        followed = self._runs.find(run_dir, wait)
        return None if followed is None else followed.shared

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Write the summary and finish the run, as failed (exit code 1) or not (0)."""
        followed = self._runs.pop(ctx.run_dir, None)
        if followed is None:
            return
        try:
            followed.run.summary.update(_sendable(summary))
            if self.log_artifacts:
                if not lies_within(ctx.artifacts_dir, ctx.artifacts_dir):
                    ctx.logger.warning("links that lead out of %s are not sent", ctx.artifacts_dir)
                followed.log_rest(ctx.artifacts_dir)
        finally:
            _finish(followed.run, exit_code=int(summary.get("status") == "failed"))

    def knows(self, ctx: RunContext) -> bool:
        """Return whether W&B has the run; offline, its folder ``wandb`` must be there.

        A folder without the run tells nothing: ``wandb sync --clean`` removes what it has sent. The
        server is not asked: W&B takes no id again that was deleted there.
        """
        folder = Path(self.kwargs.get("dir") or self._dir(ctx))
        return self._mode not in ("offline", "dryrun") or any(
            (folder / name).is_dir() for name in ("wandb", ".wandb")
        )

    @property
    def _mode(self) -> str:
        return self.kwargs.get("mode") or os.environ.get("WANDB_MODE") or "online"

    @staticmethod
    def _dir(ctx: RunContext) -> str:
        return os.environ.get("WANDB_DIR") or str(ctx.run_dir)

    def _described(self, ctx: RunContext, meta: RunMetadata) -> dict[str, Any]:
        """Return the arguments of ``wandb.init`` for a run, without unknown ones.

        The id is given because ``WANDB_RUN_ID`` would make one run of a whole sweep.
        """
        # These arguments of the user exclude "resume".
        resumed = (ctx.attempt > 1 or ctx.replayed) and not (
            self.kwargs.keys() & {"resume_from", "fork_from"}
        )
        return _known(
            id=_fitting(ctx.run_id, re.sub(r"[/\\#?%:;,']", "-", ctx.run_id).strip()),
            name=meta.run_name or ctx.run_id,
            config=_sendable(ctx.config),
            dir=self._dir(ctx),
            group=meta.group and _fitting(meta.group),
            tags=_tags(meta.tags),
            job_type=meta.experiment_name and _fitting(meta.experiment_name),
            resume="allow" if resumed else None,
        )


class _Followed:
    """A run that is under way, and the names of its artifacts."""

    def __init__(self, run: Any, run_id: str):
        self.run, self._run_id = run, run_id
        self.shared = SharedRun(run)
        self._artifacts: set[str] = set()

    def log_artifact(self, path: Path, name: str) -> None:
        kind = _TYPE_OF.get(path.suffix.lower(), "artifact") if path.is_file() else "artifact"
        self.run.log_artifact(str(path), name=_artifact_name(self._run_id, name), type=kind)
        self._artifacts.add(name)

    def log_rest(self, folder: Path) -> None:
        for path, name in list(self._rest(folder, "", folder)):
            self.log_artifact(path, name)

    def _rest(self, folder: Path, prefix: str, top: Path) -> Iterator[tuple[Path, str]]:
        """Yield what was not logged, folders in one piece where nothing in them was.

        What leads out of ``top`` by a link is left out.
        """
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            name = prefix + path.name
            inner = [path, *path.rglob("*")]
            # W&B cannot send other names.
            whole = all(map(_is_utf8, inner)) and lies_within(path, top)
            if name in self._artifacts:
                continue
            if not whole or any(known.startswith(f"{name}/") for known in self._artifacts):
                if path.is_dir() and _is_utf8(path):
                    yield from self._rest(path, f"{name}/", top)
            elif any(item.is_file() for item in inner):
                yield path, name


def _is_utf8(path: Path) -> bool:
    return not re.search("[\udc80-\udcff]", path.name)


def _wandb() -> Any:
    with importing("wandb", "tracker", "wandb", 'pip install "ztxexp[wandb]"'):
        import wandb
    return wandb


def _begin(wandb: Any, destination: str, run_dir: Path, **arguments: Any) -> Any:
    """Start a run, with a new service where that of the process has died."""
    same_id = [run for run in _running if run.id == arguments.get("id")]
    for left in [run for run in same_id if _destinations.get(id(run)) == destination]:
        # It did not end, perhaps because a call took too long; W&B takes an id once at a time.
        with contextlib.suppress(Exception):
            _finish(left, exit_code=1)
    with _starting, of_process():
        arguments["id"] = _free_id(str(arguments["id"]), destination, run_dir)
        # Not the one of the process: that may be the user's.
        arguments = {"reinit": "create_new", **arguments}
        try:
            run = wandb.init(**arguments)
        except Exception as exc:
            if not _is_lost_service(exc):
                raise
            # All runs of this process have died with it, and wandb would go on asking it.
            _running.clear()
            _destinations.clear()
            with contextlib.suppress(Exception, SystemExit):
                wandb.teardown()
            os.environ.pop("WANDB_SERVICE", None)  # its address
            run = wandb.init(**arguments)
        _running.append(run)
        _destinations[id(run)] = destination
    return run


def _free_id(run_id: str, destination: str, run_dir: Path) -> str:
    """Return the id, or that of a second tracker of the same run; called under the lock.

    W&B takes an id once in a process, whatever the project. The second one's follows from its
    destination. That it has one is noted beside the run's files, for when the run is continued.
    """
    own = marked(run_id, destination, _NAME_LENGTH)
    note = run_dir / "wandb" / f"{own}.id"
    if any(run.id == run_id for run in _running):
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        return own
    return own if note.exists() else run_id


def _finish(run: Any, exit_code: int) -> None:
    # Before the call: a finish may take long, or fail, and later runs must not wait for it.
    _running[:] = [other for other in _running if other is not run]
    _destinations.pop(id(run), None)
    file = run.settings.sync_file if run.offline is True else None
    before = _size(file)
    with of_process():
        run.finish(exit_code=exit_code)
    # Offline, W&B's service writes up to 32 KiB, all of a small run, a moment after this.
    until = time.monotonic() + _WRITTEN_SEC
    while file is not None and _size(file) == before and time.monotonic() < until:
        time.sleep(0.002)


def _size(file: str | None) -> int:
    with contextlib.suppress(OSError):
        return os.stat(file).st_size if file is not None else 0
    return 0


def _is_lost_service(exc: BaseException) -> bool:
    # A broken local socket; troubles of the network come as errors of wandb's own.
    lost = ("WandbServiceConnectionError", "MailboxClosedError", "HandleAbandonedError")
    return isinstance(exc, ConnectionError) or type(exc).__name__ in lost


def _artifact_name(run_id: str, name: str) -> str:
    """Return a name that W&B accepts, another one for each run and name.

    Names of artifacts are shared by all runs of a project.
    """
    full = f"{run_id}-{name}"
    safe = re.sub(r"[^\w.-]", "_", full.replace("/", "--"), flags=re.ASCII)
    if len(safe) <= _NAME_LENGTH and safe.replace("--", "/") == full:
        return safe
    return marked(safe, full, _NAME_LENGTH)


def _fitting(name: str, safe: str | None = None, length: int = _NAME_LENGTH) -> str:
    """Return a name that W&B accepts: itself, or ``safe`` with a mark."""
    safe = name if safe is None else safe
    return name if safe == name and len(name) <= length else marked(safe, name, length)


def _sendable(value: Any) -> Any:
    """Return a value in plain form, with an integer that no float holds as text."""
    return _without_huge(plain(value))


def _without_huge(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_huge(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_huge(item) for item in value]
    return value if type(value) is not int or is_number(value) else str(value)


def _tags(tags: dict[str, str] | list[str] | None) -> list[str] | None:
    if not tags:
        return None
    words = [f"{k}={v}" for k, v in tags.items()] if isinstance(tags, dict) else map(str, tags)
    return list(dict.fromkeys(_fitting(word, length=_TAG_LENGTH) for word in words if word))


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
