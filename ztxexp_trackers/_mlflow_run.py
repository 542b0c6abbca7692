"""One run of MLflow's, followed with its explicit id: never by way of the active run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ztxexp_core import MetricEvent, flat, plain
from ztxexp_trackers._mlflow_client import RETRIES, TIMEOUT, in_a_hurry
from ztxexp_trackers._mlflow_values import (
    PARAM_LENGTH,
    Names,
    as_float,
    batches,
    checked_tags,
    cut,
    files_below,
    is_number,
    milliseconds,
    now,
    param_texts,
    same_figure,
    text_of,
)

RUN_ID = "run_id"  # the tag by which a run is found again; 1.0.3 set it too
_ENDED_BADLY = ("reason", "error_type", "error_message")
_PARAMS_PER_BATCH, _METRICS_PER_BATCH, _TAGS_PER_BATCH = 100, 1000, 100  # limits of MLflow
_UPLOAD_SEC = 60


class RemoteRun:
    """A run of MLflow's.

    Args:
        client: of the server.
        uri: of the server.
        logger: told what is shortened, renamed or refused.

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
        self._params: dict[str, str] = {}  # as they stand in MLflow
        self._tags: dict[str, str] = {}
        self._last_step = 0
        self._sent: dict[str, tuple[int, int]] = {}  # files, by name: size and time of change
        self._metric_names = Names("metric", logger)
        self._param_names = Names("parameter", logger)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return str(self.entity.info.run_id)

    # ---- the beginning -------------------------------------------------------------------------

    def open(self, experiment_id: str, name: str, tags: dict[str, str], start: int | None) -> None:
        """Make the run.

        Args:
            experiment_id: where.
            name: of the run.
            tags: :data:`RUN_ID` must be among them.
            start: milliseconds; ``None`` for now.
        """
        # Not tried again: a second try would make a second run if the first answer got lost.
        with in_a_hurry(**{RETRIES: 0}):
            self.entity = self._client.create_run(
                experiment_id, start_time=start, tags=tags, run_name=name
            )
        self.is_new = True

    def reopen(self, run: Any, tags: dict[str, str], running: bool) -> None:
        """Go on with a run that is there.

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

    # ---- what is sent --------------------------------------------------------------------------

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, which replace those of the same name."""
        make = self._entities.RunTag
        self._send("tags", [make(*item) for item in tags.items()], _TAGS_PER_BATCH)
        self._tags.update(tags)

    def set_ending(self, tags: Mapping[str, str]) -> None:
        """Set tags, and remove what an earlier attempt has left of how it failed."""
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
            if len(text) > PARAM_LENGTH:
                self._logger.warning("MLflow gets only the beginning of the long value of %s", name)
        wanted = {self._param_names[name]: cut(text, PARAM_LENGTH) for name, text in texts.items()}
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
            stands = self._params.get(name)
            if stands is None:
                new[name] = text
            elif stands != text:
                self._logger.warning(
                    "MLflow keeps the parameter %s = %r and does not take %r: a parameter cannot "
                    "be changed",
                    name,
                    cut(stands, 100),
                    cut(text, 100),
                )
        make = self._entities.Param
        self._send("params", [make(*item) for item in new.items()], _PARAMS_PER_BATCH)
        self._params.update(new)

    def log_events(self, events: Iterable[MetricEvent]) -> None:
        """Log events, each with its own step and time."""
        make = self._entities.Metric
        rows: list[Any] = []
        tags: dict[str, str] = {}
        for event in events:
            prefix = "" if event.split == "train" else f"{event.split}/"
            when = milliseconds(event.timestamp) or now()
            self._last_step = max(self._last_step, event.step)
            for name, value in event.metrics.items():
                rows.append(
                    make(self._metric_names[prefix + name], as_float(value), when, event.step)
                )
            # Tells the points of a later attempt from those of an earlier one at the same steps.
            since = f"attempt_{event.attempt}_since"
            if (event.attempt or 1) > 1 and since not in self._tags:
                tags.setdefault(since, event.timestamp)
        self.set_tags(tags)
        self._send("metrics", rows, _METRICS_PER_BATCH)

    def log_result(self, figures: Any, when: int | None) -> None:
        """Log final figures at the last step; what is no number becomes a tag ``result.<name>``.

        Args:
            figures: as they were returned.
            when: milliseconds; ``None`` for now.
        """
        found = dict(flat(plain(figures)))
        numbers = {key: as_float(value) for key, value in found.items() if is_number(value)}
        texts = {f"result.{k}": text_of(v) for k, v in found.items() if k not in numbers}
        self.set_tags(checked_tags(texts, Names("tag", self._logger), self._logger))
        stands = {} if self.is_new else self._latest()
        rows = [
            self._entities.Metric(self._metric_names[key], value, when or now(), self._last_step)
            for key, value in numbers.items()
            if not same_figure(value, stands.get(self._metric_names[key]))
        ]
        self._send("metrics", rows, _METRICS_PER_BATCH)

    def _latest(self) -> dict[str, float]:
        """Return the last figures there are; earlier attempts may have gone further."""
        metrics = self._client.get_run(self.run_id).data.to_proto().metrics
        self._last_step = max([self._last_step, *(metric.step for metric in metrics)])
        return {metric.key: metric.value for metric in metrics}

    def _send(self, kind: str, rows: Sequence[Any], most: int) -> None:
        for batch in batches(rows, most):
            self._client.log_batch(self.run_id, synchronous=True, **{kind: batch})

    # ---- files ---------------------------------------------------------------------------------

    def upload(self, path: Path, name: str) -> None:
        """Upload a file or folder.

        Args:
            path: where it is.
            name: its posix path among the run's artifacts; ends as ``path`` does.
        """
        with self._upload_time():
            self._upload(path, name)

    def upload_rest(self, folder: Path) -> None:
        """Upload the files of a folder that were not, or have changed since."""
        with self._upload_time():
            for name, mark in files_below(folder, ""):
                if self._sent.get(name) != mark:
                    self._upload(folder / name, name)

    def _upload_time(self) -> AbstractContextManager[None]:
        """Give the server time to put large files away, if it answers at all."""
        self._client.get_run(self.run_id)
        return in_a_hurry(**{TIMEOUT: _UPLOAD_SEC})

    def _upload(self, path: Path, name: str) -> None:
        files = dict(files_below(path, name))
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), name)
        else:
            self._client.log_artifact(self.run_id, str(path), name.rpartition("/")[0] or None)
        self._sent.update(files)

    # ---- the end -------------------------------------------------------------------------------

    def end(self, status: str | None, when: int | None = None) -> None:
        """Set how the run ended.

        Args:
            status: MLflow's; ``None`` leaves it open.
            when: milliseconds; ``None`` for now.
        """
        if status is not None:
            self._client.set_terminated(self.run_id, status, when)


def find(client: Any, experiment_id: str, run_id: str) -> Any:
    """Return the run of MLflow's for one of ours; ``None`` where there is none."""
    quote = '"' if "'" in run_id else "'"
    found = client.search_runs(
        [experiment_id],
        f"tags.{RUN_ID} = {quote}{run_id}{quote}",
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return found[0] if found else None
