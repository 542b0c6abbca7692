"""What runs need of the machines that an executor places them on."""

from __future__ import annotations

import pytest

from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp.launch.needs import needs_of, size
from ztxexp_core import OptionError, RunOutcome, hookimpl
from ztxexp_executors.hosting import host
from ztxexp_testing._run_one import FakeRun, fact


class Placing:
    """Notes what runs need."""

    supports = frozenset({"distant"})
    needs = frozenset({"cpus", "gpus", "memory", "time"})

    def __init__(self, dies=False):
        self.noted, self.dies, self.workers = [], dies, None

    @hookimpl
    def ztxexp_execute(self, specs, run_one, workers):
        self.workers = workers
        for spec in specs:
            if spec.run_id == "look":
                yield run_one(spec)
                continue
            self.noted.append(dict(spec.needs))
            if self.dies and spec.attempt == 1:
                yield RunOutcome.lost(spec, "oom", signal=9)
            else:
                yield run_one(spec)


def nothing(ctx):
    return None


def sweep(root, own_executor, executor, configs=({"i": 1}, {"i": 2}), **arguments):
    own_executor(executor)
    return ExpRunner(list(configs), root.path).run(nothing, mode="own", **arguments)


def test_each_is_a_value_a_key_or_a_function(root, own_executor):
    executor = Placing()
    configs = [{"i": 1, "model": {"gpus": 1}}, {"i": 2, "model": {}}]
    needs = {
        "cpus": 4,
        "gpus": "model.gpus",
        "memory": "1.5GiB",
        "time": lambda config: 60 * config["i"],
    }
    assert sweep(root, own_executor, executor, configs, needs=needs).succeeded == 2
    common = {"cpus": 4, "memory": 3 * 2**29}
    assert executor.noted == [{**common, "gpus": 1, "time": 60}, {**common, "time": 120}]


def test_a_further_attempt_may_need_more(root, own_executor):
    executor = Placing(dies=True)
    needs = {"memory": lambda config, attempt: 2**30 * attempt, "cpus": 1}
    settings = {"needs": needs, "max_attempts": 2, "retry_on": ["WorkerDied"]}
    assert sweep(root, own_executor, executor, [{"i": 1}], **settings).succeeded == 1
    assert executor.noted == [{"memory": 2**30, "cpus": 1}, {"memory": 2**31, "cpus": 1}]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16GiB", 2**34), ("16G", 2**34), ("16GB", 16 * 10**9), ("500 MiB", 500 * 2**20),
        ("1024", 1024), ("1.5k", 1536), ("2b", 2), ("memory_key", None), ("16 XB", None),
    ],
)  # fmt: skip
def test_sizes(text, number):
    assert size(text) == number


def test_texts_of_times_and_sizes_may_stand_in_the_configuration():
    config = {"mem": "2GiB", "limit": "1h30m"}
    assert needs_of({"memory": "mem", "time": "limit"}, config, 1) == {
        "memory": 2**31,
        "time": 5400,
    }
    assert needs_of({"time": "2h"}, {}, 1) == {"time": 7200}
    assert needs_of({"time": "01:30:00"}, {}, 1) == {"time": 5400}
    assert needs_of({"time": "1-00:00:01"}, {}, 1) == {"time": 86_401}


@pytest.mark.parametrize(
    ("needs", "error", "words"),
    [
        ({"cpus": 0}, ValueError, "configuration 0 of 2: needs['cpus'] must be a number"),
        ({"cpus": True}, ValueError, "got True"),
        ({"memory": -1}, ValueError, "16GiB"),
        ({"memory": lambda config: "much"}, ValueError, "got 'much'"),
        ({"time": lambda config: 1 / 0}, ValueError, "raised ZeroDivisionError"),
        ({"cpus": "no_such_key"}, ValueError, "'no_such_key', which is no key of any"),
        ({"memory": "16 gigs"}, ValueError, 'which is no size such as "16GiB", and no key'),
        ({"cpu": 1}, OptionError, "'cpus'"),
        ({"licences": 1}, OptionError, "it observes cpus, gpus, memory, time"),
        (["cpus"], TypeError, "needs must map names to values"),
    ],
)
def test_what_cannot_be_observed_is_refused_before_anything_runs(
    root, own_executor, needs, error, words
):
    executor = Placing()
    with pytest.raises(error) as caught:
        sweep(root, own_executor, executor, needs=needs)
    assert words in str(caught.value)
    assert (executor.noted, root.runs()) == ([], [])


def test_an_engine_without_jobs_has_no_time_for_them(root, own_executor):
    executor = Placing()
    executor.needs = frozenset({"cpus", "*"})
    with pytest.raises(OptionError, match="for a limit of each run write timeout="):
        sweep(root, own_executor, executor, needs={"time": 60})


def test_names_of_its_own_are_taken_where_the_executor_says_so(root, own_executor):
    executor = Placing()
    executor.needs = {"cpus", "*"}
    assert sweep(root, own_executor, executor, needs={"licences": 2}).succeeded == 2
    assert executor.noted == 2 * [{"licences": 2}]


@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_an_executor_that_does_not_place_runs_takes_none(root, mode):
    with pytest.raises(OptionError, match=r"does not place runs.*gpus="):
        ExpRunner([{"i": 1}], root.path).run(nothing, mode=mode, needs={"gpus": 1})


def test_gpus_of_this_machine_are_refused_where_runs_are_placed(root, own_executor):
    with pytest.raises(OptionError, match=r'write needs=\{"gpus": 1\}'):
        sweep(root, own_executor, Placing(), gpus=[0])


# ---- how many at a time --------------------------------------------------------------------------


class WithRoom(Placing):
    @hookimpl
    def ztxexp_capacity(self, options):
        return 5


def test_all_workers_are_those_of_the_executor(root, own_executor):
    executor = WithRoom()
    sweep(root, own_executor, executor, [{"i": i} for i in range(9)], workers=-1)
    assert executor.workers == 5


def test_an_executor_that_cannot_say_needs_a_number(root, own_executor):
    with pytest.raises(OptionError, match="write a number for workers"):
        sweep(root, own_executor, Placing(), workers=-1)
    assert root.runs() == []


# ---- in other places -----------------------------------------------------------------------------


def test_a_pipeline_and_a_sweep_file_say_the_same(root, own_executor, tmp_path):
    from ztxexp.sweeps.spec import SweepSpec

    executor = Placing()
    own_executor(executor)
    pipeline = ExperimentPipeline(root.path).variants([{"i": 1}])
    assert pipeline.run(nothing, mode="own", needs={"cpus": 2}).succeeded == 1
    assert executor.noted == [{"cpus": 2}]
    spec = SweepSpec.from_words(["lr=1"], run="train.py:train", needs={"cpus": 2})
    assert spec.needs == {"cpus": 2}


@pytest.mark.parametrize(("cpus", "threads"), [(3, "3"), (0.5, "1")])
def test_a_hosted_run_has_as_many_threads_as_cores(tmp_path, cpus, threads):
    from ztxexp_core import RunSpec

    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
    spec = RunSpec("a", tmp_path / "a", {"show": names}, "", needs={"cpus": cpus})
    hosted = host(FakeRun())
    outcome = hosted(hosted.seal(spec))
    assert [fact(outcome, name) for name in names] == 2 * [threads]
