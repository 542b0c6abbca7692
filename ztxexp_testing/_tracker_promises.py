"""What a tracker promises while nothing fails; see :class:`TrackerSuite`."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ztxexp_testing._runs import Run, configs
from ztxexp_testing._tracker_base import TrackerBase

NAN, INF = math.nan, math.inf
ENDS = [  # status and reason, as in run.json
    ("succeeded", None),
    ("skipped", None),
    ("failed", "exception"),
    ("failed", "interrupted"),
    ("failed", "timeout"),
    ("failed", "killed"),
]


class TrackerPromises(TrackerBase):
    """A run arrives whole, whatever it logs, and does not mix with other runs."""

    # ---- one run -------------------------------------------------------------------------------

    def test_a_run_arrives_whole(self) -> None:
        net = {"depth": 2, "sizes": [3, 4], "act": {"name": "relu", "slope": 0.5}}
        flags = {"on": True, "off": False, "none": None, "text": "a b"}
        run = self.new_run({"lr": 1e-05, "seed": 7, "net": net, **flags})
        for step in range(1, 4):
            run.log(step, {"loss": 1 / step, "accuracy": step / 4})
            run.log(step, {"loss": 2 / step}, split="valid")
        self.check_run(run, figures={"score": 0.75, "best_epoch": 3})

    def test_what_is_told_little_by_little_arrives(self) -> None:
        run = self.new_run()
        with self.started(run) as calls:
            calls.send()  # nothing yet
            for count in (1, 2, 3):
                for step in range(count):
                    run.log(10 * count + step, {"loss": count + step / 4})
                calls.send()
            calls.end()
        self.assert_holds(run)

    def test_splits_stay_apart(self) -> None:
        self.needs("keeps_points")
        run = self.new_run()
        for number, split in enumerate(("train", "valid", "test", "train")):
            run.log(1 + number // 3, {"loss": number + 0.5}, split=split)
        self.check_run(run)

    def test_steps_arrive_in_whatever_order_they_are_logged(self) -> None:
        self.needs("keeps_points")
        run = self.run_with_points(5, 3, 4, 1, 1_000_000_007)
        run.log(0, {"loss": 9.0})
        run.log(3, {"loss": 8.0})  # once more, with another value
        self.check_run(run)

    def test_nan_and_infinities_arrive(self) -> None:
        self.needs("keeps_points", "keeps_non_finite")
        run = self.new_run()
        run.log(1, {"a": NAN, "b": INF, "c": -INF, "d": 0.0})
        run.log(2, {"a": 1.5, "b": NAN})
        self.check_run(run)

    def test_thousands_of_events_arrive(self) -> None:
        self.needs("keeps_points")
        run = self.new_run()
        for step in range(2500):
            run.log(step, {"loss": step / 8})
        self.check_run(run)

    def test_a_run_without_metrics_arrives(self) -> None:
        run = self.new_run({})
        self.check_run(run)

    def test_many_metrics_with_names_in_any_script_arrive(self) -> None:
        run = self.new_run({"größe": 3, "модель": "сеть", "优化器": "亚当"})
        run.log(1, {"verlust_größe": 0.5, "точность": 0.25, "损失": 0.125, "gpu 0 load": 2.0})
        run.log(2, {f"layer{number}": number / 4 for number in range(300)})
        self.check_run(run)

    def test_metrics_whose_names_differ_by_a_sign_stay_apart(self) -> None:
        # What a destination makes of signs that it refuses is its own; none may get lost.
        self.needs("keeps_points")
        run = self.new_run()
        run.log(1, {"acc@1": 0.25, "acc#1": 0.5, "acc 1": 0.75, "acc_1": 1.0})
        self.send_run(run)

        def all_are_there() -> None:
            points = self.points_of(run)
            assert sorted(point.value for point in points) == [0.25, 0.5, 0.75, 1.0]
            assert len({point.name for point in points}) == 4

        self.assert_soon(all_are_there)

    @pytest.mark.parametrize(
        "odd",
        [
            {"empty": {}, "list": [], "deep": {"a": {"b": {"c": {"d": 1}}}}},
            {"tuple": (1, 2), "path": Path("a/b"), "nan": NAN, "inf": INF, "big": 10**30},
            {"text": "ü" * 20_000, "lines": "a\nb\r\n\tc", "quote": "'\"`"},
            {f"key{number}": number for number in range(300)},
            {"k" * 400: 1, "a/b": 2, "a.b": 3, "": 4, "with space": 5, "-": 6},
            {"config": 1, "run_id": 2, "status": 3, "id": 4, "name": 5, "_step": 6},
        ],
        ids=["empty", "kinds", "long", "many", "names", "taken"],
    )
    def test_an_odd_configuration_is_no_obstacle(self, odd: dict[str, Any]) -> None:
        run = self.new_run(odd)
        run.log(1, {"loss": 0.5})
        self.send_run(run)
        self.assert_holds(run, config=False)

    def test_final_figures_arrive(self) -> None:
        run = self.run_with_points()
        odd = {"nan": NAN, "inf": INF, "text": "good", "list": [1, 2], "none": None, "on": True}
        figures = {"score": 0.75, "best": {"epoch": 7, "loss": 0.125}, "deep": {"a": {}}}
        # One has the name of a curve, which stays whole.
        self.check_run(run, figures={**figures, **odd, "loss": 0.0625})
        self.needs("keeps_figures")

    @pytest.mark.parametrize(
        ("status", "reason"), ENDS, ids=[reason or status for status, reason in ENDS]
    )
    def test_how_a_run_ended_is_told(self, status: str, reason: str | None) -> None:
        run = self.run_with_points(1)
        self.check_run(run, status=status, reason=reason)
        self.needs("keeps_status")

    # ---- several runs --------------------------------------------------------------------------

    def test_runs_at_once_do_not_mix(self) -> None:
        tracker = self.new_tracker()
        one, two = (self.new_run({"number": number}) for number in (1, 2))
        with self.started(one, tracker) as first, self.started(two, tracker) as second:
            for step in range(3):
                one.log(step, {"loss": 1 + step / 4})
                two.log(step, {"loss": 2 + step / 4})
                second.send()
                first.send()
            first.end("failed", "exception")
            two.log(3, {"loss": 2.75})
            second.end()
        self.assert_holds(one, two)

    def test_runs_of_several_threads_do_not_mix(self) -> None:
        runs = [self.run_with_points(number=number) for number in (1.0, 2.0, 3.0, 4.0)]
        shared, gate = self.new_tracker(), threading.Barrier(len(runs), timeout=self.patience)

        def whole(run: Run) -> None:
            gate.wait()
            self.send_run(run, shared if run in runs[:2] else self.new_tracker())

        with ThreadPoolExecutor(len(runs)) as threads:
            list(threads.map(whole, runs))
        self.assert_holds(*runs)

    # ---- the object ----------------------------------------------------------------------------

    def test_to_make_it_touches_neither_network_nor_files(self) -> None:
        self.new_tracker()  # what it imports may write a cache of its own
        with side_effects() as effects:
            tracker = self.new_tracker()
            str(getattr(tracker, "destination", ""))
        assert effects == []

    def test_it_may_be_made_in_another_thread_than_it_is_called_in(self) -> None:
        run, tracker = self.run_with_points(), self.new_tracker()
        self.send_run(run, tracker)  # made here, called in a thread of its own
        self.assert_holds(run)

    def test_its_destination_stays_the_same(self) -> None:
        if getattr(self.new_tracker(), "destination", None) is None:
            pytest.skip("the tracker has no destination")
        run, tracker = self.run_with_points(1), self.new_tracker()
        destinations = {getattr(self.new_tracker(), "destination", None)}
        with self.calls(run, tracker) as calls:
            for call in (calls.start, calls.send, calls.end):
                call()
                destinations.add(getattr(tracker, "destination", None))
        (destination,) = destinations  # what was told is remembered by it
        assert isinstance(destination, str)
        assert destination

    def test_what_it_is_given_stays_as_it_was(self) -> None:
        run = self.new_run({"net": {"sizes": [1, 2]}})
        event = run.log(1, {"loss": 0.5, "odd": NAN})
        summary = run.finish("failed", "exception", {"score": 0.5, "nan": NAN})
        given = run.ctx.config, run.ctx.meta, event.to_dict(), summary
        before = copy.deepcopy(given)
        with self.started(run) as calls:
            if hasattr(calls.tracker, "on_metrics"):  # the event itself, not a copy
                calls.call(calls.tracker.on_metrics, run.ctx, [event])
            else:
                calls.call(calls.tracker.on_metric, run.ctx, event)
            calls.end_with(summary)
        after = run.ctx.config, run.ctx.meta, event.to_dict(), summary
        assert repr(after) == repr(before)

    # ---- what a tracker may have ---------------------------------------------------------------

    def test_several_events_in_one_call_arrive_as_single_ones_do(self) -> None:
        self.needs_method("on_metrics")
        self.needs("keeps_points")
        run = self.new_run()
        for step in range(1, 6):
            run.log(step, {"loss": 1 / step, "accuracy": step / 8})
        with self.started(run) as calls:
            calls.send_events(run.events[:3], singly=True)
            del run.events[:3]
            calls.end()
        self.assert_holds(run)

    def test_parameters_of_a_run_arrive(self) -> None:
        self.needs_method("on_params")
        run = self.new_run({"lr": 0.1})
        run.log_params({"parameters": 1200, "device": "cuda:0", "net": {"depth": 3}})
        run.log(1, {"loss": 0.5})
        with self.started(run) as calls:
            calls.send()
            run.log_params({"more": 0.5})
            run.log_params({"parameters": 1200})  # the same again
            calls.end()
        self.assert_holds(run)

    def test_artifacts_of_a_run_arrive(self, tmp_path: Path) -> None:
        self.needs_method("on_artifact")
        run, folder = self.new_run(), tmp_path / "made"
        folder.mkdir()
        for name, text in {"model.txt": "weights", "größe.txt": "ü"}.items():
            (folder / name).write_text(text, encoding="utf-8")
        run.log_artifact(folder / "model.txt", "model.txt")
        run.log_artifact(folder / "größe.txt", "notes/deep/größe.txt")
        run.log_artifact(folder, "whole")
        self.check_run(run)

    def test_what_it_enters_around_the_experiment_lets_errors_pass(self) -> None:
        self.needs_method("in_run")
        run, unknown = self.run_with_points(), self.new_run()
        with self.started(run) as calls:
            with pytest.raises(KeyError), calls.tracker.in_run(run.ctx):
                calls.send()
                raise KeyError("the experiment's own")
            with calls.tracker.in_run(unknown.ctx):  # its start was not told
                pass
            calls.end("failed", "exception")
        self.assert_holds(run)

    # ---- real sweeps ---------------------------------------------------------------------------

    @pytest.mark.parametrize("mode", ["sequential", "process_pool"])
    def test_a_sweep_arrives(self, mode: str) -> None:
        if mode not in self.modes:
            pytest.skip(f"modes: {self.modes}")
        if mode != "sequential" and not isinstance(self.make(), tuple):
            pytest.skip("make() returns an instance; other processes need an installed tracker")
        sweep = configs("succeed", "fail", "skip", "retry", "nothing")
        self.sweep(sweep, mode, max_attempts=2, retry_on=("ValueError",), **self.launch_arguments())
        self.assert_holds()
        report = self.sync()  # what it has got is remembered
        assert (report.sent, report.events, report.failed) == ([], 0, {})


# ---- side effects ----------------------------------------------------------------------------

_EVENTS = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "sqlite3.connect"}
_EVENTS |= {"os.mkdir", "os.rename", "os.remove"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_records: dict[int, list[str]] = {}


@contextlib.contextmanager
def side_effects() -> Iterator[list[str]]:
    """Give a list of what this thread writes, connects to or starts in this context."""
    _listen()
    effects = _records[threading.get_ident()] = []
    try:
        yield effects
    finally:
        del _records[threading.get_ident()]


@functools.cache  # Python cannot remove a hook
def _listen() -> None:
    sys.addaudithook(_record)


def _record(event: str, args: tuple[Any, ...]) -> None:
    effects = _records.get(threading.get_ident())
    if effects is not None:
        flags = args[2] if event == "open" else 0
        if event in _EVENTS or (isinstance(flags, int) and flags & _WRITES):
            effects.append(f"{event} {args[0]!r}")
