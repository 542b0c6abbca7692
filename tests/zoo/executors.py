"""Bad executors. Each does one thing wrong that the contract names."""

from __future__ import annotations

from zoo.animal import FOUND, SHORT, Animal

HEAD = """
import multiprocessing, os, subprocess, sys, tempfile, threading, time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from ztxexp_core import RunOutcome, hookimpl

def keep_busy(pool, specs, run_one, workers):
    running = set()
    for spec in specs:
        running.add(pool.submit(run_one, spec))
        if len(running) >= workers:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)

"""


def executor(body: str, *caught_by: str, said: str, suite: str = "pass") -> Animal:
    """Return a module with a hook of that body."""
    lines = body.strip("\n").splitlines()
    before = [line for line in lines if line.startswith("@@ ")]
    inside = [line for line in lines if not line.startswith("@@ ")]
    source = HEAD + "".join(f"{line[3:]}\n" for line in before)
    source += "@hookimpl\ndef ztxexp_execute(specs, run_one, workers, options):\n"
    source += "".join(f"    {line}\n" for line in inside)
    return Animal(source, caught_by, said, suite=suite)


ONE = "test_each_spec_gets_one_outcome[7]"
HELD = "test_a_spec_is_taken_when_a_worker_is_free[3]"
QUIET = "test_a_script_says_nothing_and_leaves_nothing"
DEATH = "test_a_worker_that_dies_costs_its_run_only[SIGKILL]"
GPU = "test_a_run_sees_the_gpu_that_it_was_given_and_holds_it_alone"

EXECUTORS = {
    # ---- outcomes
    "loses_outcomes": executor(
        """
for number, spec in enumerate(specs):
    outcome = run_one(spec)
    if number % 3 != 2:
        yield outcome
""",
        ONE,
        said="2 of 7 specs got no outcome: ['run2', 'run5']",
    ),
    "yields_twice": executor(
        """
for spec in specs:
    outcome = run_one(spec)
    yield outcome
    if spec.run_id == "run3":
        yield outcome
""",
        ONE,
        said="it yielded more than one outcome for ['run3']",
    ),
    "makes_up_runs": executor(
        """
for spec in specs:
    yield run_one(spec)
yield RunOutcome("nobody", "succeeded")
""",
        ONE,
        said="outcomes of runs that it was not given: ['nobody']",
    ),
    "yields_dicts": executor(
        """
for spec in specs:
    yield {"run_id": spec.run_id, "status": run_one(spec).status}
""",
        ONE,
        said="not a RunOutcome",
    ),
    "returns_nothing": executor(
        """
for spec in specs:
    run_one(spec)
""",
        ONE,
        said="its hook returned None, not a generator of outcomes",
    ),
    "tells_less": executor(
        """
for spec in specs:
    yield RunOutcome(spec.run_id, run_one(spec).status)
""",
        "test_an_outcome_is_passed_on_as_the_run_gave_it",
        said="the outcome of run0 is not as the run gave it",
    ),
    "yields_at_the_end": executor(
        """
yield from [run_one(spec) for spec in specs]
""",
        "test_an_outcome_comes_when_its_run_has_ended",
        said="nothing came of it for 3 s; it had taken 2 specs and yielded 0 outcomes",
        suite=SHORT,
    ),
    "in_the_order_of_specs": executor(
        """
with ThreadPoolExecutor(workers) as pool:
    waiting = []
    for spec in specs:
        waiting.append(pool.submit(run_one, spec))
        if len(waiting) >= workers:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
""",
        "test_outcomes_come_in_the_order_in_which_runs_end",
        said="nothing came of it",
        suite=SHORT,
    ),
    # ---- workers
    "ignores_workers": executor(
        """
with ThreadPoolExecutor(8) as pool:
    yield from keep_busy(pool, specs, run_one, 8)
""",
        "test_there_are_never_more_runs_than_workers[1]",
        "test_there_are_never_more_runs_than_workers[3]",
        said="runs were under way at once, with",
    ),
    "one_at_a_time": executor(
        """
for spec in specs:
    yield run_one(spec)
""",
        "test_all_workers_are_used[3]",
        said="nothing came of it",
        suite=SHORT,
    ),
    "daemonic": executor(
        """
with multiprocessing.get_context("spawn").Pool(workers) as pool:
    yield from pool.imap_unordered(run_one, specs)
""",
        "test_runs_may_start_processes[spawn]",
        said="a run that starts a process ended otherwise: failed, AssertionError",
    ),
    # ---- the stream
    "takes_everything": executor(
        """
for spec in list(specs):
    yield run_one(spec)
""",
        HELD,
        said="it held 20 specs without an outcome, with 3 workers (takes_ahead = 0)",
    ),
    "takes_without_end": executor(
        """
for spec in list(specs):
    yield run_one(spec)
""",
        "test_a_stream_without_end_is_taken_little_by_little",
        said="specs of a stream without end",
    ),
    "takes_ahead": executor(
        """
with ThreadPoolExecutor(workers) as pool:
    yield from keep_busy(pool, specs, run_one, workers + 2)
""",
        HELD,
        said="it held 5 specs without an outcome, with 3 workers",
    ),
    "pulls_from_each_worker": executor(
        """
outcomes = []
def work():
    for spec in specs:
        outcomes.append(run_one(spec))
threads = [threading.Thread(target=work) for _ in range(workers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
yield from outcomes
""",
        "test_specs_are_taken_one_at_a_time",
        said="two threads pulled the stream at once",
    ),
    "hangs_when_the_stream_breaks": executor(
        """
import queue
waiting = queue.Queue()
def feed():
    try:
        for spec in specs:
            waiting.put(spec)
    except Exception:
        return
    waiting.put(None)
threading.Thread(target=feed, daemon=True).start()
while (spec := waiting.get()) is not None:
    yield run_one(spec)
""",
        "test_an_error_of_the_stream_ends_the_call",
        said="nothing came of it for 3 s; it had taken 1 specs and yielded 1 outcomes",
        suite=SHORT + '\n    leaves_nothing = "it hangs"',
    ),
    # ---- state
    "one_queue_for_all": executor(
        """
@@ LEFT = []
for spec in specs:
    LEFT.append(run_one(spec))
    time.sleep(0.05)
    yield LEFT.pop()
""",
        "test_two_calls_at_once_do_not_mix",
        said="the call of a0 to a5 yielded",
    ),
    "changes_configurations": executor(
        """
for spec in specs:
    spec.config["a"].append("mine")
    yield run_one(spec)
""",
        "test_what_it_is_given_stays_as_it_was",
        said="it changed a spec, or its options",
    ),
    # ---- faults
    "a_death_breaks_the_pool": executor(
        """
context = multiprocessing.get_context("spawn")
with ProcessPoolExecutor(workers, mp_context=context) as pool:
    yield from keep_busy(pool, specs, run_one, workers)
""",
        DEATH,
        said="BrokenProcessPool",
    ),
    "a_death_hangs": executor(
        """
with multiprocessing.get_context("spawn").Pool(workers) as pool:
    yield from pool.imap_unordered(run_one, specs)
""",
        DEATH,
        said="nothing came of it",
        suite='patience = 6.0\n    leaves_nothing = "it hangs"',
    ),
    "a_death_without_a_cause": executor(
        """
for spec in specs:
    asked, told = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=work, args=(told, run_one, spec))
    child.start()
    told.close()
    try:
        yield asked.recv()
    except EOFError:
        yield RunOutcome.lost(spec)
    child.join()
@@ def work(told, run_one, spec):
@@     told.send(run_one(spec))
""",
        DEATH,
        said="it does not say how the worker died",
    ),
    "one_bad_value_ends_it": executor(
        """
import pickle
for spec in specs:
    yield pickle.loads(pickle.dumps(run_one))(pickle.loads(pickle.dumps(spec)))
""",
        "test_a_configuration_that_cannot_be_sent_costs_its_run_only[pickled]",
        said="an unsendable value cannot be pickled",
    ),
    # ---- the end
    "waits_when_closed": executor(
        """
context = multiprocessing.get_context("spawn")
with ProcessPoolExecutor(workers, mp_context=context) as pool:
    yield from keep_busy(pool, specs, run_one, workers)
""",
        "test_closing_ends_what_is_under_way",
        said="nothing came of it for 6 s",
        suite="patience = 6.0",
    ),
    "leaves_workers_when_closed": executor(
        """
pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
yield from keep_busy(pool, specs, run_one, workers)
""",
        "test_closing_ends_what_is_under_way",
        said="is still there",
        suite='leaves_nothing = "of itself"',
    ),
    "goes_on_when_closed": executor(
        """
outcomes = []
def work():
    for spec in specs:
        outcomes.append(run_one(spec))
threading.Thread(target=work, daemon=True).start()
while True:
    while outcomes:
        yield outcomes.pop(0)
    time.sleep(0.01)
""",
        "test_closing_starts_nothing_more",
        said="runs began after the call was closed",
        suite='leaves_nothing = "of itself"',
    ),
    "leaves_a_thread": executor(
        """
threading.Thread(target=time.sleep, args=(20,), name="forgotten", daemon=True).start()
for spec in specs:
    yield run_one(spec)
""",
        "test_each_spec_gets_one_outcome[1]",
        said="threads are left: ['forgotten']",
    ),
    "leaves_a_process": executor(
        """
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
for spec in specs:
    yield run_one(spec)
""",
        "test_each_spec_gets_one_outcome[1]",
        said="processes are left: ",
    ),
    "leaves_a_file": executor(
        """
open(os.path.join(tempfile.mkdtemp(), "forgotten"), "w").close()
for spec in specs:
    yield run_one(spec)
""",
        QUIET,
        said="files are left",
    ),
    "prints": executor(
        """
for spec in specs:
    print("starting", spec.run_id)
    yield run_one(spec)
""",
        QUIET,
        said="an executor logs, and prints nothing",
    ),
    "imports_the_script_again": executor(
        """
context = multiprocessing.get_context("spawn")
with ProcessPoolExecutor(workers, mp_context=context) as pool:
    yield from keep_busy(pool, specs, run_one, workers)
""",
        "test_a_launch_at_the_top_level_of_a_script_works[script]",
        said="starts a launch when it is imported",
    ),
    "outlives_its_launcher": executor(
        """
context = multiprocessing.get_context("spawn")
with ProcessPoolExecutor(workers, mp_context=context) as pool:
    yield from keep_busy(pool, specs, run_one, workers)
""",
        "test_a_launcher_that_is_killed_leaves_no_worker_and_its_runs_go_on",
        said="after the launcher was killed",
    ),
    # ---- what it declares
    "no_time_limit": executor(
        """
@@ supports = {"timeout"}
for spec in specs:
    yield run_one(spec)
""",
        "test_a_run_over_its_time_is_ended_and_the_others_go_on",
        said="nothing came of it",
        suite=SHORT,
    ),
    "no_environment": executor(
        """
@@ supports = {"gpus"}
for spec in specs:
    yield run_one(spec)
""",
        GPU,
        said="the run saw None, it was given 0",
    ),
    "holds_more_than_the_gpus": executor(
        """
@@ supports = {"gpus"}
def carry_out(spec):
    os.environ.update(spec.environment)
    return type(run_one)(("CUDA_VISIBLE_DEVICES", os.environ["CUDA_VISIBLE_DEVICES"]))(spec)
held = []
for spec in specs:
    held.append(spec)
    if len(held) == 4:
        yield from map(carry_out, held)
        held = []
""",
        GPU,
        said="it must never hold more specs than workers",
    ),
    "no_fresh_process": executor(
        """
@@ supports = {"fresh_process"}
for spec in specs:
    yield run_one(spec)
""",
        "test_a_fresh_process_carries_out_one_run",
        said="the process of run0 had another run",
    ),
    "none_is_the_end": executor(
        """
@@ supports = {"refill"}
with ThreadPoolExecutor(workers) as pool:
    yield from keep_busy(pool, iter(lambda: next(specs, None), None), run_one, workers)
""",
        "test_after_none_the_stream_is_asked_again",
        said="after a None it did not ask for more",
    ),
    "misspelt_capability": executor(
        """
@@ supports = {"timeouts"}
for spec in specs:
    yield run_one(spec)
""",
        *FOUND,
        said="supports names 'timeouts' (did you mean 'timeout'?)",
    ),
    # ---- not even found
    "misspelt_hook": Animal(
        HEAD + "@hookimpl\ndef ztxexp_exekute(specs, run_one): ...\n",
        FOUND,
        "implements 'ztxexp_exekute', which is not a hook (did you mean 'ztxexp_execute'?)",
    ),
    "unmarked": Animal(
        "def ztxexp_execute(specs, run_one): ...\n", FOUND, "decorate it with @hookimpl"
    ),
    "a_class": Animal(
        HEAD + "class Executor:\n    @hookimpl\n    def ztxexp_execute(self, specs): ...\n",
        FOUND,
        "is a class where an instance or a module is needed",
        attribute="Executor",
    ),
    "odd_argument": Animal(
        HEAD + "@hookimpl\ndef ztxexp_execute(specs, run_one, cores): ...\n",
        FOUND,
        "asking for 'cores'",
    ),
    "odd_options": Animal(
        HEAD + "class Options: ...\n@hookimpl\ndef ztxexp_execute(specs, run_one): ...\n",
        FOUND,
        "has an Options that is not a dataclass",
    ),
    "import_fails": Animal(
        "import no_such_package_here\n", FOUND, "No module named 'no_such_package_here'"
    ),
    "exits_when_imported": Animal(
        "import sys\nsys.exit('goodbye')\n", FOUND, "cannot be imported (SystemExit: goodbye)"
    ),
    "attribute_is_missing": Animal(HEAD, FOUND, "has no attribute 'nothing'", attribute="nothing"),
}
