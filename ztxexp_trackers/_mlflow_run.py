"""One run of MLflow's, addressed by its id, and names and values within MLflow's limits."""

from __future__ import annotations

import json
import logging
import os
import posixpath
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp_core import MetricEvent, encode_json, flat, lies_within, plain
from ztxexp_trackers._common import is_number, marked, named_metrics, seconds

RUN_ID = "run_id"  # the tag by which a run is found again; 1.0.3 set it too
_ENDED_BADLY = ("reason", "error_type", "error_message")

# Limits of MLflow (mlflow.utils.validation), the lowest of the versions that this works with.
_PARAM_LENGTH, _TAG_LENGTH, _NAME_LENGTH = 6000, 5000, 250
_PER_BATCH = {"params": 100, "tags": 100, "metrics": 1000}
_BYTES_PER_BATCH = 900_000  # of 1 MB
_ROW_BYTES = 150  # of a row besides its name and value
_BAD_CHARACTERS = re.compile(r"[^/\w.\- ]" if os.name == "nt" else r"[^/\w.\- :]")


class RemoteRun:
    """A run of MLflow's.

    Args:
        client: of the server.
        uri: of the server.
        logger: for what is shortened, renamed or refused.

    Attributes:
        entity: the run as MLflow described it when it was opened.
        is_new: whether it was made just now.
    """

    entity: Any
    is_new: bool

    def __init__(self, client: Any, uri: str, logger: logging.Logger):
        self.uri = uri
        self._client, self._logger = client, logger
        self._entities = sys.modules["mlflow"].entities
        self._params: dict[str, str] = {}  # as MLflow has them
        self._tags: dict[str, str] = {}
        self._last_step = 0
        self._uploaded: dict[str, tuple[int, int]] = {}  # by name: size and time of change
        self._metric_names = Names("metric", logger)
        self._param_names = Names("parameter", logger)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return str(self.entity.info.run_id)

    def open(self, experiment_id: str, name: str, tags: dict[str, str], start: int | None) -> None:
        """Make the run.

        Args:
            experiment_id: where.
            name: of the run.
            tags: :data:`RUN_ID` must be among them.
            start: milliseconds; ``None`` for now.
        """
        self.entity = self._client.create_run(
            experiment_id, start_time=start, tags=tags, run_name=name
        )
        self.is_new = True

    def reopen(self, run: Any, tags: dict[str, str], running: bool) -> None:
        """Continue a run that exists.

        Args:
            run: as :func:`find` returned it.
            tags: what has changed.
            running: whether it runs again.
        """
        self.entity, self.is_new = run, False
        self._params, self._tags = dict(run.data.params), dict(run.data.tags)
        if running:
            self._client.update_run(self.run_id, status="RUNNING")
            self.set_ending(tags)
        else:
            self.set_tags(tags)

    def end(self, status: str | None, when: int | None = None) -> None:
        """Set how the run ended.

        Args:
            status: MLflow's; ``None`` leaves it open.
            when: milliseconds; ``None`` for now.
        """
        if status is not None:
            self._client.set_terminated(self.run_id, status, when)

    # ---- parameters, metrics, tags -------------------------------------------------------------

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, which replace those of the same name."""
        self._send("tags", [self._entities.RunTag(*item) for item in tags.items()])
        self._tags.update(tags)

    def set_ending(self, tags: Mapping[str, str]) -> None:
        """Set tags, and remove those in which an earlier attempt said how it failed."""
        for name in _ENDED_BADLY:
            if name in self._tags and name not in tags:
                self._client.delete_tag(self.run_id, name)
                del self._tags[name]
        self.set_tags(tags)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; one that MLflow has with another value keeps that one.

        Args:
            params: whatever a configuration may hold; dicts within it get dotted names.
        """
        texts = param_texts(params)
        for name, text in texts.items():
            if len(text) > _PARAM_LENGTH:
                self._logger.warning("MLflow gets only the beginning of the long value of %s", name)
        wanted = {
            self._param_names[name]: _cut(text, _PARAM_LENGTH) for name, text in texts.items()
        }
        try:
            self._log_new(wanted)
        except sys.modules["mlflow"].MlflowException as exc:
            if exc.error_code != "INVALID_PARAMETER_VALUE":
                raise
            # The user's function, or autologging, may have logged one of them itself.
            stored = dict(self._client.get_run(self.run_id).data.params)
            if stored.items() <= self._params.items():
                raise
            self._params = stored
            self._log_new(wanted)

    def _log_new(self, wanted: Mapping[str, str]) -> None:
        new = {}
        for name, text in wanted.items():
            stored = self._params.get(name)
            if stored is None:
                new[name] = text
            elif stored != text:
                self._logger.warning(
                    "MLflow keeps the parameter %s = %r and does not take %r: a parameter cannot "
                    "be changed",
                    name,
                    _cut(stored, 100),
                    _cut(text, 100),
                )
        self._send("params", [self._entities.Param(*item) for item in new.items()])
        self._params.update(new)

    def log_events(self, events: Iterable[MetricEvent]) -> None:
        """Log events, each with its own step and time."""
        rows: list[Any] = []
        tags: dict[str, str] = {}
        for event in events:
            when = milliseconds(event.timestamp)
            self._last_step = max(self._last_step, event.step)
            rows += [
                self._metric(name, value, when, event.step)
                for name, value in named_metrics(event).items()
                if is_number(value)
            ]
            # Tells the points of a later attempt from those of an earlier one at the same steps.
            since = f"attempt_{event.attempt}_since"
            if (event.attempt or 1) > 1 and since not in self._tags:
                tags.setdefault(since, event.timestamp)
        self.set_tags(tags)
        self._send("metrics", rows)

    def log_result(self, figures: Any, when: int | None) -> None:
        """Log final figures at the last step; what is no number becomes a tag ``result.<name>``.

        Args:
            figures: as they were returned.
            when: milliseconds; ``None`` for now.
        """
        values = dict(flat(plain(figures)))
        numbers = {key: float(value) for key, value in values.items() if is_number(value)}
        texts = {f"result.{k}": _text_of(v) for k, v in values.items() if k not in numbers}
        self.set_tags(checked_tags(texts, Names("tag", self._logger), self._logger))
        stored = {} if self.is_new else self._latest()
        rows = [
            self._metric(key, value, when, self._last_step)
            for key, value in numbers.items()
            if not _same_figure(value, stored.get(self._metric_names[key]))
        ]
        self._send("metrics", rows)

    def _latest(self) -> dict[str, float]:
        """Return the latest figures that MLflow has; earlier attempts may have gone further."""
        metrics = self._client.get_run(self.run_id).data.to_proto().metrics
        self._last_step = max([self._last_step, *(metric.step for metric in metrics)])
        return {metric.key: metric.value for metric in metrics}

    def _metric(self, name: str, value: float, when: int | None, step: int) -> Any:
        key = self._metric_names[name]
        now = int(time.time() * 1000)
        return self._entities.Metric(key, value, when or now, step)

    def _send(self, kind: str, rows: Sequence[Any]) -> None:
        """Send rows with a ``key`` and a ``value`` in as few requests as MLflow takes."""
        batch: list[Any] = []
        size = 0
        for row in rows:
            more = len(json.dumps([row.key, row.value])) + _ROW_BYTES
            if batch and (len(batch) == _PER_BATCH[kind] or size + more > _BYTES_PER_BATCH):
                self._client.log_batch(self.run_id, synchronous=True, **{kind: batch})
                batch, size = [], 0
            batch.append(row)
            size += more
        if batch:
            self._client.log_batch(self.run_id, synchronous=True, **{kind: batch})

    # ---- files ---------------------------------------------------------------------------------

    def upload(self, path: Path, name: str) -> None:
        """Upload a file or folder.

        Args:
            path: where it is.
            name: its posix path among the run's artifacts; ends as ``path`` does.
        """
        files = dict(_files_below(path, name))
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), name)
        else:
            self._client.log_artifact(self.run_id, str(path), name.rpartition("/")[0] or None)
        self._uploaded.update(files)

    def upload_rest(self, folder: Path) -> None:
        """Upload the files of a folder that were not uploaded, or have changed since."""
        for name, mark in _files_below(folder, ""):
            if self._uploaded.get(name) == mark:
                continue
            if lies_within(folder / name, folder):
                self.upload(folder / name, name)
            else:
                self._logger.warning("%s was not uploaded: it leads out of %s", name, folder)


_ACTIVE, _ALL = 1, 3  # mlflow.entities.ViewType


def find(client: Any, experiment_id: str, run_id: str, deleted_too: bool = False) -> Any:
    """Return the run of MLflow's for one of ours; ``None`` where there is none."""
    quote = '"' if "'" in run_id else "'"
    runs = client.search_runs(
        [experiment_id],
        f"tags.{RUN_ID} = {quote}{run_id}{quote}",
        run_view_type=_ALL if deleted_too else _ACTIVE,
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return runs[0] if runs else None


# ---- names and values --------------------------------------------------------------------------


class Names(dict[str, str]):
    """Names as MLflow takes them: allowed characters, not too long.

    A name that is changed gets a mark, so that no two become one, see :func:`marked`.

    Args:
        kind: what they name.
        logger: for those that are changed.
        taken: names that are the tracker's own.
    """

    def __init__(self, kind: str, logger: logging.Logger, taken: Collection[str] = ()):
        super().__init__()
        self._kind, self._logger, self._taken = kind, logger, frozenset(taken)

    def __missing__(self, name: str) -> str:
        parts = _BAD_CHARACTERS.sub("_", name).split("/")
        # MLflow reads names as paths and refuses those that lead elsewhere.
        safe = "/".join(part for part in parts if part not in ("", ".", "..")) or "_"
        chosen = name
        if safe != name or len(name) > _NAME_LENGTH or name in self._taken:
            chosen = marked(safe, name, _NAME_LENGTH)
            self._logger.warning("MLflow gets the %s %r as %r", self._kind, name, chosen)
        self[name] = chosen
        return chosen


def checked_tags(tags: Mapping[str, str], names: Names, logger: logging.Logger) -> dict[str, str]:
    """Return tags as MLflow takes them."""
    for name, text in tags.items():
        if len(text) > _TAG_LENGTH:
            logger.warning("MLflow gets only the beginning of the long tag %s", name)
    return {names[name]: _cut(text, _TAG_LENGTH) for name, text in tags.items()}


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Return nested parameters as dotted names and texts.

    Raises:
        ConfigError: a value has no plain form.
    """
    return {name: _text_of(value) for name, value in flat(plain(params))}


def milliseconds(timestamp: object) -> int | None:
    """Return an ISO 8601 time as MLflow has it; ``None`` for what is none."""
    since = seconds(timestamp)
    return None if since is None else int(since * 1000)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _text_of(value: Any) -> str:
    return encode_json(value).decode() if isinstance(value, (list, dict)) else str(value)


def _same_figure(figure: float, stored: float | None) -> bool:
    largest = sys.float_info.max  # as which databases keep infinity
    return stored is not None and (
        (figure != figure and stored != stored)
        or max(min(figure, largest), -largest) == max(min(stored, largest), -largest)
    )


def _files_below(path: Path, name: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the files at or below a path: the name of each, with its size and time of change."""
    walk = ((folder, file) for folder, _, files in os.walk(path) for file in sorted(files))
    for file in [path] if path.is_file() else (Path(*parts) for parts in walk):
        if file.is_file():  # not a link that leads nowhere
            status = file.stat()
            below = posixpath.join(name, file.relative_to(path).as_posix())
            yield posixpath.normpath(below), (status.st_size, status.st_mtime_ns)
