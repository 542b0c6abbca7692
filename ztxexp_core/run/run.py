"""The life of one run, in whichever process carries it out.

:class:`RunOne` is what executors call. It never raises and does everything: the folder, the files,
the trackers, the attempts, the record of how the run ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp_core.context import RunContext
from ztxexp_core.errors import OptionError
from ztxexp_core.pickling import load_by_value, pickle_launch, refuse_unsendable
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    RunMetadata,
    RunOutcome,
    RunSpec,
    SkipRun,
)
from ztxexp_core.run.beginning import EndedError, TakenOverError, as_recorded, attempt_to_make
from ztxexp_core.run.current import current
from ztxexp_core.run.habits import habit_hint
from ztxexp_core.run.launch import (
    AttemptEnd,
    Launch,
    call_in_own_process,
    first_record,
    text_of,
    trace_of,
)
from ztxexp_core.run.output import RunLogger, flush_output, redirect_output
from ztxexp_core.run.place import Place, move_to
from ztxexp_core.run.settings import apply_settings
from ztxexp_core.run.surroundings import left_threads, put_back_after, working_folder
from ztxexp_core.run.trackers import RunSink, RunTrackers, remote_targets
from ztxexp_core.store.complete import FILES, mark_of, sizes_of_lines
from ztxexp_core.store.files import RunFiles, is_there, utc_now, write_bytes, write_json
from ztxexp_core.store.heartbeat import beat_for
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.store.liveness import take_on
from ztxexp_core.store.run_folder import (
    create_run,
    reopen_run,
    taken_over,
)
from ztxexp_core.store.sink import named_values, plain_values
from ztxexp_core.values.codec import encode
from ztxexp_core.values.copying import copy_config

if TYPE_CHECKING:
    from ztxexp_core.run.distant import DistantRun


class RunOne:
    """Carries out one run; can be sent to another process by pickle or cloudpickle.

    Example:
        >>> outcome = RunOne(launch)(spec)
    """

    def __init__(self, launch: Launch):
        self._launch = launch
        self._packed: tuple[str, bytes] | None = None
        self._prepared = launch.initializer is None

    @property
    def metadata(self) -> RunMetadata:
        """The metadata that the runs of the launch share."""
        return self._launch.metadata

    def prepare(self) -> None:
        """Call the initializer of the launch, once in this process.

        Raises:
            BaseException: whatever it raises.
        """
        if not self._prepared and self._launch.initializer is not None:
            self._prepared = True
            self._launch.initializer()

    def __call__(self, spec: RunSpec) -> RunOutcome:
        if getattr(self._launch.function, "reads_code_anew", False):
            self._forget_edited(path for path, *_ in self._launch.code_files)
        run = _Run(self._launch, spec)
        try:
            return run.execute()
        finally:
            if _under_way.get(spec.run_id) is run:
                del _under_way[spec.run_id]

    def __reduce__(self) -> tuple[Any, ...]:
        if self._launch.mark:
            return self.distant().__reduce__()
        return self._loading()

    def _loading(self) -> tuple[Any, ...]:
        return _unpack_run_one, (*self.packed(), tuple(self.place))

    def distant(self) -> DistantRun:
        """Return what carries out the runs in a worker that may lack what they need."""
        from ztxexp_core.run.distant import DistantRun  # most workers need none

        load, arguments = self._loading()
        return DistantRun(load, arguments, self._launch.mark)

    @property
    def place(self) -> Place:
        """Where the script runs."""
        return self._launch.place

    def compare_code(self, known: Set[str]) -> None:
        """Forget the hashes of the code where files were edited before this process imported them.

        Args:
            known: names of the modules that had been imported before.
        """
        new = set(sys.modules) - known
        self._forget_edited(getattr(sys.modules[name], "__file__", None) for name in new)

    def _forget_edited(self, used: Iterable[str | None]) -> None:
        """Forget the hashes of the code where files that are used now have been edited."""
        files, edited = set(used), list[str]()
        for path, *was in self._launch.code_files:
            if path in files:
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    edited += [path] if [status.st_mtime_ns, status.st_size] != was else []
        if edited:
            names = ", ".join(map(os.path.basename, edited))
            note = f"{names} was edited after the launch began; the run used the newer code"
            meta = dataclasses.replace(
                self.metadata, function_hash=None, module_hash=None, code_hash=None, code_note=note
            )
            self._launch = dataclasses.replace(self._launch, metadata=meta)

    def packed(self) -> tuple[str, bytes]:
        """Return a digest and the launch as bytes, functions without a module by value.

        Raises:
            OptionError: the function, or something it refers to, cannot be sent to a worker.
        """
        if self._packed is None:
            import hashlib  # takes long, and no worker needs it

            launch = self._launch
            try:
                data = pickle_launch(launch)
            except Exception as exc:
                for what, part in launch.parts():
                    refuse_unsendable(what, part)
                raise OptionError(f"the launch cannot be sent to worker processes: {exc}") from exc
            self._packed = hashlib.blake2b(data, digest_size=16).hexdigest(), data
        return self._packed


_unpacked: dict[str, RunOne] = {}  # in a worker: the present launch, by its digest


def _unpack_run_one(digest: str, data: bytes, place: tuple[Any, ...] = ()) -> RunOne:
    run_one = _unpacked.get(digest)
    if run_one is None:
        move_to(Place(*place))
        known = set(sys.modules)
        launch = load_by_value(data)[1]
        apply_settings(launch.settings)
        run_one = RunOne(launch)
        run_one.compare_code(known)
        run_one.prepare()
        _unpacked.clear()
        _unpacked[digest] = run_one
    return run_one


_under_way: dict[str, _Run] = {}  # in this process, by id


class _Run:
    """One run: open, start trackers, attempts, record the end, end trackers."""

    def __init__(self, launch: Launch, spec: RunSpec):
        self.launch = launch
        self.spec = spec
        self.files = RunFiles(spec.run_dir)
        self.events = JsonlWriter(self.files.events)
        self.attempt = spec.attempt
        self.notices: list[str] = []
        self.started = time.monotonic()
        self.interrupted = False
        self.end_logged = False

    def execute(self) -> RunOutcome:
        try:
            self._open()
        except EndedError as exc:
            return self._recorded(exc.record)
        except BaseException as exc:
            return self._unrecorded(exc)
        try:
            self.trackers.start(self.ctx)
            self._event("start", attempt=self.attempt)
            with self.trackers.in_run():
                end = self._attempts()
        except TakenOverError as exc:
            return self._left(exc)
        except BaseException as exc:  # Ctrl-C between two steps
            end = AttemptEnd.failed(exc)
        try:
            return self._end(end)
        except KeyboardInterrupt:  # while the end was being written: write it again
            self.interrupted = True
        except BaseException as exc:
            return self._unrecorded(exc, end)
        try:
            return self._end(end)
        except BaseException as exc:
            return self._unrecorded(exc, end)

    # -- 1. the folder

    def _open(self) -> None:
        run_dir, self.attempt = self.spec.run_dir, attempt_to_make(self.spec, _under_way)
        spec = dataclasses.replace(self.spec, attempt=self.attempt)
        self.record, self.meta = first_record(spec, self.launch.metadata)
        make = reopen_run if self.attempt > 1 and is_there(run_dir) else create_run
        make(run_dir, self.spec.config, self.record, self.meta.to_dict())
        _under_way[spec.run_id] = self
        take_on(spec.run_id)
        beat_for(os.path.dirname(self.files.base))
        if self.launch.own_process:
            redirect_output(self.files.log)
        self.logger = RunLogger(self.spec.run_id, self.files.log)
        self.trackers = RunTrackers(self.launch, self.spec, self._report_tracker)
        self._new_context()
        if self.meta.code_note is not None:
            self.notices.append(self.meta.code_note)

    def _recorded(self, record: Mapping[str, Any]) -> RunOutcome:
        """Return the outcome of a run that has ended before; trackers may lack it."""
        outcome = RunOutcome(
            run_id=self.spec.run_id,
            status="",
            exit_code=record.get("exit_code"),
            signal=record.get("signal"),
            lacking=tuple((target.label, 0.0) for target in remote_targets(self.launch)),
        )
        return as_recorded(outcome, record)

    def _new_context(self) -> None:
        """Make the context of an attempt, with a sink of its own."""
        self.ctx = RunContext(
            run_id=self.spec.run_id,
            run_dir=self.spec.run_dir,
            config=copy_config(self.spec.config),
            logger=self.logger,
            meta=self.meta,
            _metrics_jsonl_path=Path(self.files.curve),
        )
        shares = self.launch.own_process and self.launch.workdir is None
        folder = working_folder() if shares else None
        self.ctx._sink = self.sink = RunSink(self.ctx, self.trackers.local, folder)

    def _report_tracker(self, name: str, call: str, exc: BaseException) -> None:
        """Tell the user of a tracker's first failure."""
        problem = f"tracker {name!r} failed in {call}: {type(exc).__name__}: {text_of(exc)}"
        self.logger.warning("%s\n%s", problem, trace_of(exc).rstrip())
        self.notices.append(problem)
        self._event("tracker_error", tracker=name, call=call, error_message=text_of(exc))

    # -- 2. attempts

    def _attempts(self) -> AttemptEnd:
        while True:
            try:
                return self._call()
            except TakenOverError:
                raise
            except SkipRun as exc:
                self.logger.warning("skipped: %s", exc)
                self._event("skip", attempt=self.attempt, reason=text_of(exc))
                return AttemptEnd(
                    RUN_STATUS_SKIPPED, error_type=type(exc).__name__, error_message=text_of(exc)
                )
            except BaseException as exc:
                end = AttemptEnd.failed(exc, self.launch.own_process)
                end.error_message = (end.error_message or "") + habit_hint(exc, self.spec.config)
                tries = self.spec.tries + 1 + self.attempt - self.spec.attempt
                if not self.launch.retry.covers(exc, tries):
                    self._log_failure(end, exc)
                    return end
                self._prepare_retry(end, exc, pause=self.launch.retry.pause(tries))

    def _call(self) -> AttemptEnd:
        own_folder = self.launch.workdir == "run"
        try:
            folder = str(self.ctx.artifacts_dir) if own_folder else None
            with put_back_after(folder), current(self.ctx):
                returned = call_in_own_process(self.launch.function, self.ctx)
        finally:
            self._check_own()  # before anything is written of how the attempt ended
        if returned is None:
            return AttemptEnd(RUN_STATUS_SUCCEEDED)
        named = named_values(returned)
        metrics = plain_values(
            named,
            lambda name, kind: self.sink.refuse(
                f"the returned metric {name!r} was not recorded: a {kind} cannot be written down; "
                "return numbers, texts, lists or dicts of them"
            ),
        )
        return AttemptEnd(RUN_STATUS_SUCCEEDED, metrics, has_metrics=True)

    def _check_own(self) -> None:
        """Raise where another process took this one for dead and has gone on with the run."""
        who = taken_over(self.files.base, self.attempt)
        if who is not None:
            raise TakenOverError(f"this process gave no sign of life for too long, and {who}")

    def _left(self, exc: TakenOverError) -> RunOutcome:
        """Leave a run to the process that has gone on with it: nothing of it is written here."""
        self.sink.end()
        self.trackers.leave()
        self.events.close()
        self.logger.close()
        return self._unrecorded(exc)

    def _prepare_retry(self, end: AttemptEnd, exc: BaseException, pause: float) -> None:
        trace, message = trace_of(exc), "attempt %d failed (%s), trying again\n%s"
        self.logger.warning(message, self.attempt, end.error_type, trace.rstrip())
        self._keep_trace(self.files.error_of(self.attempt), trace)
        self._event("retry", attempt=self.attempt, **end.error_fields())
        self._end_sink()  # a thread of this attempt must not log into the next one
        time.sleep(pause)
        self._check_own()
        earlier = {"attempt": self.attempt, "status": end.status, **end.error_fields()}
        earlier |= {"reason": end.reason, "finished_at": utc_now()}
        self.record.setdefault("earlier_attempts", []).append(earlier)
        self.attempt += 1
        self.meta = dataclasses.replace(self.meta, attempt=self.attempt)
        self.record.update(attempt=self.attempt, retry_count=self.record["retry_count"] + 1)
        write_json(self.files.run, self.record)
        write_json(self.files.meta, self.meta.to_dict())
        self._new_context()
        self.trackers.continue_with(self.ctx)

    def _log_failure(self, end: AttemptEnd, exc: BaseException) -> None:
        trace = trace_of(exc)
        self.logger.error("failed\n%s", trace.rstrip())
        self._keep_trace(self.files.error, trace)
        self._event("error", attempt=self.attempt, **end.error_fields())

    def _keep_trace(self, path: str, trace: str) -> None:
        with contextlib.suppress(OSError):  # the disk may be full; run.json has the error too
            write_bytes(path, trace.encode(errors="backslashreplace"))

    # -- 3. the record of the end

    def _end(self, end: AttemptEnd) -> RunOutcome:
        self._end_sink()
        if self.sink.summary:
            metrics = {**self.sink.summary, **end.metrics}
            end = dataclasses.replace(end, metrics=metrics, has_metrics=True)
        if end.has_metrics:
            data = encode(end.metrics, indent=True)
            try:
                write_bytes(self.files.metrics, data)
                self.record[FILES]["metrics.json"] = mark_of(data)
            except OSError as exc:
                end = AttemptEnd.failed(exc, self.launch.own_process)
                self._log_failure(end, exc)
        duration, error = round(time.monotonic() - self.started, 6), end.error_fields()
        self.record.update(
            status=end.status,
            finished_at=utc_now(),
            duration_sec=duration,
            reason=end.reason,
            **error,
        )
        if end.place is not None:
            self.record["error_place"] = end.place
        codes = {"exit_code": end.exit_code, "signal": end.signal}
        self.record.update({name: code for name, code in codes.items() if code is not None})
        self.record[FILES].update(sizes_of_lines(self.files.base))
        write_json(self.files.run, self.record)
        self._end_trackers(end, error)
        if self.logger.broken is not None:
            self.notices.append(f"run.log could not be written: {self.logger.broken}")
        if self.launch.own_process:
            if threads := left_threads():
                self.notices.append(
                    f"a run left a thread running ({', '.join(threads)}): its worker waits up to "
                    "5 s for it at its end; join it in the function, or make it daemon=True"
                )
            flush_output()
        return RunOutcome(
            run_id=self.spec.run_id,
            status=end.status,
            attempt=self.attempt,
            duration_sec=duration,
            reason="interrupted" if self.interrupted else end.reason,
            notices=tuple(dict.fromkeys(self.notices)),
            exit_code=end.exit_code,
            signal=end.signal,
            place=end.place,
            hung=tuple(self.trackers.hung),
            lacking=tuple(dict(self.trackers.lacking).items()),
            **error,
        )

    def _end_sink(self) -> None:
        self.sink.end()
        for message in self.sink.refusals:
            if message not in self.notices:
                self.notices.append(message)
                self._event("metric_refused", attempt=self.attempt, error_message=message)
        self.notices += [each for each in self.sink.warnings if each not in self.notices]

    # -- 4. the end of the trackers

    def _end_trackers(self, end: AttemptEnd, error: dict[str, Any]) -> None:
        summary: dict[str, object] = {
            "run_id": self.spec.run_id,
            "status": end.status,
            **error,
            "retry_count": self.record["retry_count"],
            "attempt": self.attempt,
            "reason": end.reason,
            "metrics": end.metrics,
        }
        if not self.end_logged:
            self.end_logged = True
            self._event("end", summary=summary)
        for name, report in self.trackers.end(self.ctx, summary):
            count, error_message = report.lacking, report.error
            lines = "1 line" if count == 1 else f"{count} lines"
            self.logger.warning("tracker %r lacks %s of this run", name, lines)
            self._event("tracker_lacks", tracker=name, lines=count, error_message=error_message)
        self.events.close()
        self.logger.close()

    # -- for several steps

    def _event(self, event: str, **fields: Any) -> None:
        row = {"event": event, "run_id": self.spec.run_id, "timestamp": utc_now(), **fields}
        try:
            self.events.append(row)
        except OSError as exc:  # a side record, not worth the run
            self.notices.append(f"events.jsonl could not be written: {exc}")

    def _unrecorded(self, exc: BaseException, end: AttemptEnd | None = None) -> RunOutcome:
        """Return the outcome of a run whose end could not be written."""
        reason = "interrupted" if isinstance(exc, KeyboardInterrupt) else "unrecorded"
        outcome = RunOutcome(
            run_id=self.spec.run_id,
            status=RUN_STATUS_FAILED,
            attempt=self.attempt,
            error_type=type(exc).__name__,
            error_message=f"the run's record could not be written in {self.files.base}: "
            f"{text_of(exc)}",
            reason="elsewhere" if isinstance(exc, TakenOverError) else reason,
            notices=tuple(self.notices),
        )
        if end is None or end.status != RUN_STATUS_FAILED:
            return outcome
        message = f"{end.error_message} ({outcome.error_message})"
        return dataclasses.replace(
            outcome, error_type=end.error_type, error_message=message, place=end.place
        )
