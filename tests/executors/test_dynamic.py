"""When the dynamic executor starts a further run: CPU, memory, GPU memory."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import deadly
import pytest
from pretended_gpus import UUIDS, PretendedNvml

from ztxexp_core import OptionError
from ztxexp_core.plugins.registry import executors

NEVER = 1e18  # bytes that no machine has


class CountsOthers:
    """A run_one that reports how many runs are under way, itself included.

    It stays until so many of them have been seen as are wanted, at least for a moment.
    """

    def __init__(self, folder, wanted):
        self.folder, self.wanted = Path(folder), wanted

    def __call__(self, spec):
        present, seen = self.folder / "present", self.folder / "seen"
        mine = present / spec.run_id
        mine.touch()
        most, begun = 0, time.monotonic()
        while (waited := time.monotonic() - begun) < 0.05 or (not seen.exists() and waited < 30):
            most = max(most, len(list(present.iterdir())))
            if most >= self.wanted:
                seen.touch()
            time.sleep(0.005)
        mine.unlink()
        return deadly.RunOutcome(spec.run_id, "succeeded", notices=(str(most),))


@pytest.fixture
def crowd(tmp_path, spec, drive):
    """Carry out runs; returns the largest number of them that were under way at a time."""

    def call(wanted, **options):
        (tmp_path / "present").mkdir()
        specs = [spec(f"run{i}") for i in range(6)]
        outcomes = drive("dynamic", specs, CountsOthers(tmp_path, wanted), **options)
        assert {o.status for o in outcomes.values()} == {"succeeded"}
        return max(int(o.notices[0]) for o in outcomes.values())

    return call


def test_without_limits_all_workers_are_used(crowd):
    assert crowd(2, cpu_threshold=100, min_free_memory=0) == 2


@pytest.mark.parametrize("least", [NEVER, 0.999])
def test_one_run_at_a_time_is_under_way_where_memory_is_short(crowd, least):
    assert crowd(1, min_free_memory=least) == 1


def test_memory_that_is_there_holds_nothing_back(crowd):
    assert crowd(2, min_free_memory=1e6) == 2


def test_runs_that_are_held_back_start_as_soon_as_another_has_ended(spec, drive):
    started = time.monotonic()
    outcomes = drive("dynamic", [spec(f"run{i}") for i in range(300)], min_free_memory=NEVER)
    assert len(outcomes) == 300
    assert time.monotonic() - started < 20  # asking every tenth of a second would take 30


@pytest.mark.parametrize(
    "options",
    [
        {"cpu_threshold": 0},
        {"cpu_threshold": "80"},
        {"min_free_memory": -1},
        {"min_free_memory": None},
        {"min_free_memory": True},
        {"min_free_gpu_memory": 0},
        {"min_free_gpu_memory": "8"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(options):
    (name,) = options
    with pytest.raises(OptionError, match=name):
        executors().load("dynamic").check_options(options)


# ---- GPU memory ------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch):
    """Pretend GPUs with so many GiB free each; the same call changes it."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def say(*free):
        nvml = sys.modules.get("pynvml")
        if not isinstance(nvml, PretendedNvml):
            nvml = PretendedNvml([80] * len(free))
            monkeypatch.setitem(sys.modules, "pynvml", nvml)
        nvml.free.update(zip(nvml.uuids, free, strict=True))

    return say


@pytest.mark.first_is_quick
@pytest.mark.parametrize(("visible", "most"), [(None, 2), ("0", 1), ("1", 2), (UUIDS[0], 1)])
def test_one_visible_gpu_with_room_is_enough(gpus, crowd, monkeypatch, visible, most):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus(3, 10)
    assert crowd(most, min_free_gpu_memory=8) == most


def test_a_run_that_is_held_back_starts_when_there_is_room_at_last(gpus, spec, drive, tmp_path):
    gpus(3)
    config = {"wait_for": str(tmp_path / "begun")}
    first = spec("first", config, timeout=60)  # ends only after the other began
    second = spec("second", {"note": str(tmp_path / "begun")})
    threading.Timer(0.3, gpus, [9]).start()
    outcomes = drive("dynamic", [first, second], min_free_gpu_memory=8)
    assert [o.status for o in outcomes.values()] == 2 * ["succeeded"]


@pytest.mark.parametrize("visible", ["", "-1", "5"])
def test_gpus_that_are_not_there_are_an_error_before_the_first_run(gpus, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus(3)
    with pytest.raises(OptionError, match="no GPU"):
        executors().load("dynamic").check_options({"min_free_gpu_memory": 1})


def test_a_missing_driver_is_an_error_before_the_first_run(gpus, monkeypatch):
    gpus(3)
    nvml = sys.modules["pynvml"]

    def no_driver():
        raise nvml.NVMLError("no driver")

    monkeypatch.setattr(nvml, "nvmlInit", no_driver)
    with pytest.raises(OptionError, match="no driver"):
        executors().load("dynamic").check_options({"min_free_gpu_memory": 1})


def test_a_missing_package_is_an_error_that_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(OptionError, match="nvidia-ml-py"):
        executors().load("dynamic").check_options({"min_free_gpu_memory": 1})
