"""The life of one run, in whichever process carries it out.

:class:`RunOne` is what executors call. It never raises and does everything: the folder, the files,
the trackers, the attempts, the truth about how it ended.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import time
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.delivery.thread import DeliveryReport
from ztxexp_core.errors import OptionError
from ztxexp_core.pickling import load_by_value, pickle_by_value
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    RunMetadata,
    SkipRun,
)
from ztxexp_core.run.calling import call_in_own_process
from ztxexp_core.run.launch import Launch
from ztxexp_core.run.logger import RunLogger
from ztxexp_core.run.outcome import Ending, text_of, trace_of
from ztxexp_core.run.output import flush_output, redirect_output
from ztxexp_core.run.sink import RunSink
from ztxexp_core.run.trackers import Telling
from ztxexp_core.specs import RunOutcome, RunSpec
from ztxexp_core.store.heartbeat import beat_for
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.store.liveness import status_elsewhere, this_process
from ztxexp_core.store.run_folder import (
    RunFiles,
    create_run,
    reopen_run,
    utc_now,
    write_bytes,
    write_json,
)
from ztxexp_core.store.sink import plain_values
from ztxexp_core.values.copying import copy_config


class RunOne:
    """Carries out one run; can be sent to another process by pickle or cloudpickle.

    Example:
        >>> outcome = RunOne(launch)(spec)
    """

    def __init__(self, launch: Launch):
        self._launch = launch
        self._packed: tuple[str, bytes] | None = None

    @property
    def metadata(self) -> RunMetadata:
        """What the runs of the launch share of their metadata."""
        return self._launch.metadata

    def __call__(self, spec: RunSpec) -> RunOutcome:
        return _Run(self._launch, spec).carry_out()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_run_one, self.packed()

    def packed(self) -> tuple[str, bytes]:
        """Return a digest and the launch as bytes, the function by value where it has no module.

        Raises:
            OptionError: the function, or something it refers to, cannot be sent to a worker.
        """
        if self._packed is None:
            import hashlib  # takes long, and no worker needs it

            launch = self._launch
            for what, part in launch.parts():
                try:
                    pickle_by_value(part)
                except Exception as exc:
                    raise OptionError(
                        f"{what} cannot be pickled for worker processes ({type(exc).__name__}: "
                        f"{exc}); make what it refers to inside the experiment function, or use "
                        "mode='sequential'"
                    ) from exc
            data = pickle_by_value(launch)
            self._packed = hashlib.blake2b(data, digest_size=16).hexdigest(), data
        return self._packed


_unpacked: dict[str, RunOne] = {}  # in a worker: the launch it is working for


def _unpack_run_one(digest: str, data: bytes) -> RunOne:
    found = _unpacked.get(digest)
    if found is None:
        found = RunOne(load_by_value(data))
        _unpacked.clear()
        _unpacked[digest] = found
    return found


def first_record(spec: RunSpec, template: RunMetadata) -> tuple[dict[str, Any], RunMetadata]:
    """Return what ``run.json`` says when a run begins in this process, and its metadata.

    Args:
        spec: the run.
        template: what the runs of its launch share.
    """
    config = spec.config
    meta = dataclasses.replace(
        template,
        attempt=spec.attempt,
        seed=_seed(config.get("seed") if template.seed is None else template.seed),
        dataset_version=template.dataset_version or _dataset_version(config),
        tags=copy.deepcopy(template.tags),  # each run its own: it may add to them
        extras=copy.deepcopy(template.extras),
    )
    record: dict[str, Any] = {
        "schema_version": RUN_SCHEMA_VERSION,
        "run_id": spec.run_id,
        "status": RUN_STATUS_RUNNING,
        "started_at": utc_now(),
        "finished_at": None,
        "duration_sec": None,
        "error_type": None,
        "error_message": None,
        "experiment_name": meta.experiment_name,
        "group": meta.group,
        "tags": template.tags,
        "parent_run_id": meta.parent_run_id,
        "attempt": spec.attempt,
        "retry_count": 0,
        "reason": None,
        "identity": spec.identity,
        "owner": this_process(),
    }
    return record, meta


def _seed(value: Any) -> int | None:
    """Return a seed as a number: a whole number, or a text of digits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (Integral, str)):
        return None
    with contextlib.suppress(ValueError):
        return int(value)
    return None


def _dataset_version(config: Mapping[str, Any]) -> str | None:
    """Return what the configuration says under ``dataset_version``, or else ``data_version``."""
    for key in ("dataset_version", "data_version"):
        value = config.get(key)
        if value is not None and str(value):
            return str(value)
    return None


class _TakenError(Exception):
    """The run is another launch's by now: it has succeeded, or is under way."""


class _Run:
    """One run: open, start trackers, attempts, record the end, end trackers."""

    def __init__(self, launch: Launch, spec: RunSpec):
        self.launch = launch
        self.spec = spec
        self.files = RunFiles(spec.run_dir)
        self.attempt = spec.attempt
        self.notices: list[str] = []
        self.started = time.monotonic()
        self.interrupted = False
        self.end_told = False

    def carry_out(self) -> RunOutcome:
        try:
            self._open()
        except BaseException as exc:
            return self._unrecorded(exc)
        try:
            self.telling.start(self.ctx)
            self._event("start", attempt=self.attempt)
            with self.telling.in_run():
                ending = self._attempts()
        except BaseException as exc:  # Ctrl-C between two steps
            ending = Ending.failed(exc)
        try:
            return self._end(ending)
        except BaseException as exc:
            if not isinstance(exc, KeyboardInterrupt):
                return self._unrecorded(exc, ending)
        try:  # Ctrl-C while the end was being written: the end is known, so write it again
            self.interrupted = True
            return self._end(ending)
        except BaseException as exc:
            return self._unrecorded(exc, ending)

    # -- 1. the folder

    def _open(self) -> None:
        self.record, self.meta = first_record(self.spec, self.launch.metadata)
        anew = self.attempt > 1 and self.spec.run_dir.exists()
        status = status_elsewhere(self.spec.run_dir, self.attempt) if anew else None
        if status is not None:
            raise _TakenError(f"another launch has gone on with it; it is {status}")
        make = reopen_run if anew else create_run
        make(self.spec.run_dir, self.spec.config, self.record, self.meta.to_dict())
        beat_for(os.path.dirname(self.files.base))
        if self.launch.own_process:
            redirect_output(self.files.log)
        self.events = JsonlWriter(self.files.events)
        self.logger = RunLogger(self.spec.run_id, self.files.log)
        self.telling = Telling(self.launch, self.spec, self._tracker_failed)
        self.ctx = self._context()

    def _context(self) -> RunContext:
        ctx = RunContext(
            run_id=self.spec.run_id,
            run_dir=self.spec.run_dir,
            config=copy_config(self.spec.config),
            logger=self.logger,
            meta=self.meta,
            _metrics_jsonl_path=Path(self.files.curve),
        )
        ctx._sink = self.sink = RunSink(ctx, self.telling.local)
        self.telling.goes_on_with(ctx)
        return ctx

    # -- 2. trackers

    def _tracker_failed(self, name: str, call: str, exc: BaseException) -> None:
        said = f"tracker {name!r} failed in {call}: {type(exc).__name__}: {text_of(exc)}"
        self.logger.warning("%s\n%s", said, trace_of(exc).rstrip())
        self.notices.append(said)
        self._event("tracker_error", tracker=name, call=call, error_message=text_of(exc))

    # -- 3. attempts

    def _attempts(self) -> Ending:
        while True:
            try:
                return self._call()
            except SkipRun as exc:
                self.logger.warning("skipped: %s", exc)
                self._event("skip", attempt=self.attempt, reason=text_of(exc))
                return Ending(
                    RUN_STATUS_SKIPPED, error_type=type(exc).__name__, error_message=text_of(exc)
                )
            except BaseException as exc:
                ending = Ending.failed(exc)
                if not self.launch.retry.covers(exc, self._tries()):
                    self._tell_failure(ending, exc)
                    return ending
                self._prepare_retry(ending, exc)

    def _tries(self) -> int:
        return self.spec.tries + 1 + self.attempt - self.spec.attempt

    def _call(self) -> Ending:
        returned = call_in_own_process(self.launch.function, self.ctx)
        if returned is None:
            return Ending(RUN_STATUS_SUCCEEDED)
        if not isinstance(returned, dict):
            raise TypeError(
                "the experiment function must return a dict of metrics or None, "
                f"got {type(returned).__name__}"
            )
        return Ending(RUN_STATUS_SUCCEEDED, self._plain_metrics(returned), has_metrics=True)

    def _plain_metrics(self, returned: dict[Any, Any]) -> dict[str, Any]:
        return plain_values(
            returned,
            # Costs this value, not hours of training.
            lambda name, kind: self._refused(
                f"the returned metric {name!r} was not recorded: a {kind} cannot be written down; "
                "return numbers, texts, lists or dicts of them"
            ),
        )

    def _prepare_retry(self, ending: Ending, exc: BaseException) -> None:
        trace, failed = trace_of(exc), "attempt %d failed (%s), trying again\n%s"
        self.logger.warning(failed, self.attempt, ending.error_type, trace.rstrip())
        self._keep_trace(self.files.error_of(self.attempt), trace)
        self._event("retry", attempt=self.attempt, **ending.error_fields())
        self._end_sink()  # a thread of this attempt may go on logging: not into the next one
        time.sleep(self.launch.retry.pause(self._tries()))
        self.record.setdefault("earlier_attempts", []).append(ending.as_attempt(self.attempt))
        self.attempt += 1
        self.meta = dataclasses.replace(self.meta, attempt=self.attempt)
        self.record.update(attempt=self.attempt, retry_count=self.record["retry_count"] + 1)
        write_json(self.files.run, self.record)
        write_json(self.files.meta, self.meta.to_dict())
        self.ctx = self._context()

    def _tell_failure(self, ending: Ending, exc: BaseException) -> None:
        trace = trace_of(exc)
        self.logger.error("failed\n%s", trace.rstrip())
        self._keep_trace(self.files.error, trace)
        self._event("error", attempt=self.attempt, **ending.error_fields())

    def _keep_trace(self, path: str, trace: str) -> None:
        with contextlib.suppress(OSError):  # the disk may be full; run.json says it too
            write_bytes(path, trace.encode(errors="backslashreplace"))

    # -- 4. the record of the end

    def _end(self, ending: Ending) -> RunOutcome:
        self._end_sink()
        if self.sink.figures:
            ending = dataclasses.replace(
                ending, metrics={**self.sink.figures, **ending.metrics}, has_metrics=True
            )
        if ending.has_metrics:
            try:
                write_json(self.files.metrics, ending.metrics)
            except OSError as exc:
                ending = Ending.failed(exc)
                self._tell_failure(ending, exc)
        duration = round(time.monotonic() - self.started, 6)
        self.record.update(
            status=ending.status,
            finished_at=utc_now(),
            duration_sec=duration,
            reason=ending.reason,
            **ending.error_fields(),
        )
        if ending.place is not None:
            self.record["error_place"] = ending.place
        write_json(self.files.run, self.record)
        self._end_trackers(ending)
        if self.logger.broken is not None:
            self.notices.append(f"run.log could not be written: {self.logger.broken}")
        if self.launch.own_process:
            flush_output()
        return RunOutcome(
            run_id=self.spec.run_id,
            status=ending.status,
            attempt=self.attempt,
            duration_sec=duration,
            reason="interrupted" if self.interrupted else ending.reason,
            notices=tuple(dict.fromkeys(self.notices)),
            place=ending.place,
            hung=tuple(self.telling.hung),
            **ending.error_fields(),
        )

    def _end_sink(self) -> None:
        self.sink.end()
        for name, kind in self.sink.refused.items():
            self._refused(f"metric {name!r} was not recorded: a {kind} is no number")
        for said in self.sink.refusals:
            self._refused(said)

    # -- 5. trackers hear of the end

    def _end_trackers(self, ending: Ending) -> None:
        summary: dict[str, object] = {
            "run_id": self.spec.run_id,
            "status": ending.status,
            **ending.error_fields(),
            "retry_count": self.record["retry_count"],
            "attempt": self.attempt,
            "reason": ending.reason,
            "metrics": ending.metrics,
        }
        if not self.end_told:
            self.end_told = True
            self._event("end", summary=summary)
        for name, sent in self.telling.end(self.ctx, summary):
            self._undelivered(name, sent)
        self.events.close()
        self.logger.close()

    def _undelivered(self, name: str, sent: DeliveryReport) -> None:
        lines = f"{sent.lacking} line" + "s" * (sent.lacking != 1)
        self.logger.warning("tracker %r lacks %s of this run", name, lines)
        self._event("tracker_lacks", tracker=name, lines=sent.lacking, error_message=sent.error)
        if sent.error is None:  # not told yet
            self.notices.append(
                f"tracker {name!r} is slow: {lines} of its run could not be sent in time; "
                f"ztxexp.sync(results_root, {name!r}, ...) sends them"
            )

    # -- what several steps need

    def _event(self, event: str, **fields: Any) -> None:
        row = {"event": event, "run_id": self.spec.run_id, "timestamp": utc_now(), **fields}
        try:
            self.events.append(row)
        except OSError as exc:  # a side record: told, but not worth the run
            self.notices.append(f"events.jsonl could not be written: {exc}")

    def _refused(self, said: str) -> None:
        if said not in self.notices:
            self.logger.error(said)
            self.notices.append(said)
            self._event("metric_refused", attempt=self.attempt, error_message=said)

    def _unrecorded(self, exc: BaseException, ending: Ending | None = None) -> RunOutcome:
        reason = "interrupted" if isinstance(exc, KeyboardInterrupt) else "unrecorded"
        why = f"the run's record could not be written in {self.files.base}: {text_of(exc)}"
        failed = ending is not None and ending.status == RUN_STATUS_FAILED
        return RunOutcome(
            run_id=self.spec.run_id,
            status=RUN_STATUS_FAILED,
            attempt=self.attempt,
            error_type=ending.error_type if ending and failed else type(exc).__name__,
            error_message=f"{ending.error_message} ({why})" if ending and failed else why,
            reason="elsewhere" if isinstance(exc, _TakenError) else reason,
            notices=tuple(self.notices),
            place=ending.place if ending and failed else None,
        )
