"""gpus: who gets which GPU, when nobody does, and what the numbers mean. The GPUs are pretended."""

from __future__ import annotations

import logging
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended_gpus import UUIDS

from ztxexp.launch import gpus
from ztxexp.launch.gpus import GpuSlots
from ztxexp_core.errors import OptionError

pytestmark = pytest.mark.usefixtures("no_gpus_known")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set forward; only the age of answers goes by it."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(gpus, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def given_out(slots, count):
    """What the next runs get."""
    return [slots.take(f"run-{n}")["CUDA_VISIBLE_DEVICES"] for n in range(count)]


# ---- taking and freeing ----------------------------------------------------------------------


def test_each_run_gets_a_gpu_of_its_own_and_the_rest_wait():
    slots = GpuSlots.of([0, 1])
    assert slots.capacity == 2
    assert given_out(slots, 2) == ["0", "1"]
    assert slots.busy_reason == ""
    assert slots.take("late") is None
    assert slots.busy_reason == "all GPUs in use"
    slots.free("run-1")
    assert slots.take("late")["CUDA_VISIBLE_DEVICES"] == "1"
    assert slots.busy_reason == ""


def test_freeing_twice_or_an_unknown_run_changes_nothing():
    slots = GpuSlots.of([0, 1], runs_per_gpu=2)
    given_out(slots, 4)
    slots.free("run-0")
    slots.free("run-0")
    slots.free("nobody")
    assert slots.take("a") and slots.take("b") is None


def test_a_run_that_asks_again_is_told_the_same():
    slots = GpuSlots.of([0, 1])
    assert slots.take("a") == slots.take("a")
    assert slots.take("b") and slots.take("a")
    slots.free("a")
    assert slots.take("c")["CUDA_VISIBLE_DEVICES"] == "0"


def test_what_a_run_is_told_is_its_own():
    slots = GpuSlots.of([0])
    slots.take("a")["CUDA_VISIBLE_DEVICES"] = "9"
    assert slots.take("a")["CUDA_VISIBLE_DEVICES"] == "0"


def test_runs_spread_over_gpus_before_they_share_one():
    assert given_out(GpuSlots.of([0, 1], runs_per_gpu=2), 4) == ["0", "1", "0", "1"]


def test_runs_on_several_gpus_get_the_same_sets_again():
    slots = GpuSlots.of(range(4), gpus_per_run=2)
    assert given_out(slots, 2) == ["0,1", "2,3"]
    for n in (1, 0, 1, 0):
        slots.free(f"run-{n}")
        assert slots.take(f"run-{n}")["CUDA_VISIBLE_DEVICES"] == ["0,1", "2,3"][n]
    slots.free("run-1")
    slots.free("run-0")
    assert given_out(slots, 2) == ["0,1", "2,3"]


def test_of_equally_busy_sets_one_that_was_given_before_is_preferred():
    slots = GpuSlots.of(range(5), runs_per_gpu=2, gpus_per_run=2)
    assert given_out(slots, 5) == ["0,1", "2,3", "0,4", "2,3", "1,4"]


def test_too_few_gpus_for_a_run_are_counted_out():
    slots = GpuSlots.of(range(3), gpus_per_run=2)
    given_out(slots, 1)
    assert slots.take("late") is None
    assert slots.busy_reason == "1 of 3 GPUs free, a run takes 2"


@st.composite
def machines(draw):
    count = draw(st.integers(1, 7))
    return count, draw(st.integers(1, 4)), draw(st.integers(1, count))


@settings(max_examples=150, deadline=None)
@given(machine=machines(), steps=st.lists(st.integers(0, 40), max_size=60))
def test_no_gpu_gets_too_much_and_none_is_left_over(machine, steps):
    count, runs_per_gpu, gpus_per_run = machine
    slots = GpuSlots(list(map(str, range(count))), runs_per_gpu, gpus_per_run)
    again = GpuSlots(list(map(str, range(count))), runs_per_gpu, gpus_per_run)
    held: dict[str, list[str]] = {}

    def take(run_id):
        environment = slots.take(run_id)
        assert environment == again.take(run_id)  # equal sequences, equal GPUs
        assert (environment is None) == (len(held) == slots.capacity)
        if environment is not None:
            held[run_id] = environment["CUDA_VISIBLE_DEVICES"].split(",")
            assert len(set(held[run_id])) == gpus_per_run
            for gpu in held[run_id]:
                assert sum(gpu in others for others in held.values()) <= runs_per_gpu

    for number, step in enumerate(steps):
        if step % 2 and held:  # whichever run ends
            ended = sorted(held)[step // 2 % len(held)]
            del held[ended]
            slots.free(ended)
            again.free(ended)
        else:
            take(f"run-{number}")
    for number in range(slots.capacity - len(held)):
        take(f"last-{number}")
    assert len(held) == slots.capacity == count * runs_per_gpu // gpus_per_run


def test_sets_recur_where_they_divide_the_gpus():
    slots = GpuSlots.of(range(6), runs_per_gpu=2, gpus_per_run=3)
    seen = set(given_out(slots, 4))
    for n in (3, 0, 2, 1, 1, 0, 3):
        slots.free(f"run-{n}")
        slots.free(f"run-{(n + 1) % 4}")
        seen |= set(given_out(slots, 4))
    assert seen == {"0,1,2", "3,4,5"}


@pytest.fixture
def hasty_threads():
    """Threads take turns so often that what is not guarded goes wrong."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_share_the_slots_without_loss(hasty_threads):
    slots = GpuSlots.of([0, 1], runs_per_gpu=2)
    most, wrong = 0, []
    guard, under_way = threading.Lock(), []

    def work(name):
        nonlocal most
        for n in range(1000):
            run_id = f"{name}-{n}"
            while (environment := slots.take(run_id)) is None:
                time.sleep(0)
            gpu = environment["CUDA_VISIBLE_DEVICES"]
            with guard:
                under_way.append(gpu)
                if under_way.count(gpu) > 2:
                    wrong.append(gpu)
                most = max(most, len(under_way))
            time.sleep(0)
            with guard:
                under_way.remove(gpu)
            slots.free(run_id)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and most > 1
    assert len(given_out(slots, 4)) == 4


# ---- numbers and their order -----------------------------------------------------------------


def test_numbers_mean_what_nvidia_smi_shows_where_the_user_has_said_nothing(pretended):
    assert GpuSlots.of([0]).take("a")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    pretended((80, 80))
    assert GpuSlots.of("auto").take("a")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_the_users_own_order_and_variable_are_left_alone(visible, monkeypatch):
    visible("4")
    assert GpuSlots.of("auto").take("a") == {"CUDA_VISIBLE_DEVICES": "4"}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert GpuSlots.of(["GPU-aa"]).take("a") == {"CUDA_VISIBLE_DEVICES": "GPU-aa"}
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert GpuSlots.of([0]).take("a") == {"CUDA_VISIBLE_DEVICES": "0"}


def test_memory_is_not_looked_up_under_a_number_that_means_another_gpu(
    pretended, visible, monkeypatch
):
    pretended((80, 24), names=["H200", "L4"])
    visible("0,1")
    with pytest.raises(OptionError, match=r"several models \(H200, L4\).*PCI_BUS_ID"):
        GpuSlots.of("auto", memory_free=1)
    visible(",".join(UUIDS[:2]))
    assert GpuSlots.of("auto", memory_free=1).capacity == 2
    visible("0,1")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert GpuSlots.of("auto", memory_free=1).capacity == 2


# ---- memory ----------------------------------------------------------------------------------


def test_asking_for_memory_without_nvml_is_refused_with_the_extra_to_install():
    with pytest.raises(OptionError, match=r"gpu_memory_free cannot be watched.*ztxexp\[gpu\]"):
        GpuSlots.of([0], memory_free=20)


def test_a_run_waits_until_a_gpu_has_the_memory(pretended, clock):
    module = pretended((80, 80))
    slots = GpuSlots.of([0, 1], memory_free=20)
    module.free = {UUIDS[0]: 1.5, UUIDS[1]: 2.1}
    assert slots.take("a") is None
    assert slots.busy_reason == "GPU 1 has 2.1 of 20 GiB free"
    module.free[UUIDS[1]] = 20
    clock.seconds += 0.5
    assert slots.take("a")["CUDA_VISIBLE_DEVICES"] == "1"
    assert slots.take("b") is None
    assert slots.busy_reason == "GPU 0 has 1.5 of 20 GiB free"


def test_nvml_is_asked_twice_a_second_at_most_and_not_for_full_gpus(pretended, clock):
    module = pretended((80, 80))
    slots = GpuSlots.of([0, 1], memory_free=20)
    module.asked.clear()
    slots.take("a")
    slots.take("b")
    slots.free("a")
    slots.take("a")
    assert sorted(module.asked) == UUIDS[:2]
    clock.seconds += 10
    assert slots.take("c") is None
    assert slots.busy_reason == "all GPUs in use"
    assert len(module.asked) == 2
    slots.free("b")
    slots.take("c")
    assert module.asked[2:] == [UUIDS[1]]


def test_a_run_counts_with_its_memory_before_it_has_taken_any(pretended, clock):
    module = pretended((48,))
    slots = GpuSlots.of([0], runs_per_gpu=3, memory_free=20)
    assert slots.take("a") and slots.take("b")
    assert slots.take("c") is None
    assert slots.busy_reason == "GPU 0 has 8.0 of 20 GiB free"
    module.free[UUIDS[0]] = 5  # they have taken it
    clock.seconds += 1
    assert slots.take("c") is None
    slots.free("a")
    module.free[UUIDS[0]] = 26
    clock.seconds += 1
    assert slots.take("c")


def test_runs_that_need_several_gpus_need_the_memory_on_each(pretended, clock):
    module = pretended((80, 80, 80))
    slots = GpuSlots.of("auto", gpus_per_run=2, memory_free=30)
    module.free[UUIDS[1]] = 10
    assert slots.take("a")["CUDA_VISIBLE_DEVICES"] == "0,2"


def test_memory_of_gpus_named_by_short_uuids_and_of_mig_parts_is_found(pretended, visible):
    module = pretended((80, 80))
    visible("GPU-bbbb")
    assert GpuSlots.of("auto", memory_free=70).take("a")
    module.parts = {UUIDS[0]: ["MIG-1"]}
    module.total["MIG-1"] = module.free["MIG-1"] = 20
    visible("MIG-1")
    module.asked.clear()
    assert GpuSlots.of("auto", memory_free=10).take("a")
    assert set(module.asked) == {"MIG-1"}


def test_gpus_that_could_never_have_so_much_are_left_out(pretended, caplog):
    module = pretended((80, 12))
    assert GpuSlots.of("auto", memory_free=20).gpus == ("0",)
    assert "0: 80.0 GiB, 1: 12.0 GiB" in caplog.text
    with pytest.raises(OptionError, match=r"gpu_memory_free=200 GiB is more than .*0: 80.0 GiB"):
        GpuSlots.of("auto", memory_free=200)
    with pytest.raises(OptionError, match=r"gpu_memory_free=20 GiB is more"):
        GpuSlots.of("auto", gpus_per_run=2, memory_free=20)
    module.broken = True
    with pytest.raises(OptionError, match=r"cannot tell the memory of 0: GPU is lost"):
        GpuSlots.of("auto", memory_free=1)


def test_nvml_that_fails_later_is_told_of_once_and_holds_no_run_up(pretended, clock, caplog):
    module = pretended((80, 80))
    slots = GpuSlots.of("auto", runs_per_gpu=2, memory_free=60)
    module.broken = True
    with caplog.at_level(logging.WARNING):
        assert given_out(slots, 4) == ["0", "1", "0", "1"]
    assert caplog.text.count("GPU is lost") == 1
    for n in range(4):
        slots.free(f"run-{n}")
    module.broken = False  # it comes back, and is heeded
    clock.seconds += 1
    module.free = {UUIDS[0]: 5, UUIDS[1]: 70}
    assert given_out(slots, 1) == ["1"]
