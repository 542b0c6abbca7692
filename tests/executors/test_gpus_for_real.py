"""GPU slots on a machine that has a GPU: what CUDA itself shows the runs."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gpu_experiments
import pytest
from reading import strict

from ztxexp import ExpRunner
from ztxexp_core import OptionError


def _uuids_that_cuda_shows() -> list[str]:
    """Ask in a process of its own: CUDA reads the variables once, and this one must stay clean."""
    code = (
        "import torch\n"
        "for n in range(torch.cuda.device_count()):\n"
        "    print('GPU-%s' % torch.cuda.get_device_properties(n).uuid)\n"
    )
    env = dict(os.environ)
    if "CUDA_VISIBLE_DEVICES" not in env:
        env.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    return re.findall(r"^GPU-\S+$", said.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def uuids():
    """The GPUs of this machine, in the order in which numbers count."""
    if not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        pytest.skip("needs an NVIDIA GPU: there is neither nvidia-smi nor /dev/nvidia0")
    pytest.importorskip("torch", reason="needs torch to ask CUDA what it shows")
    pytest.importorskip("pynvml", reason="needs nvidia-ml-py to ask the driver")
    found = _uuids_that_cuda_shows()
    if not found:
        pytest.skip("needs an NVIDIA GPU that torch can use: CUDA shows none")
    return found


def launch(root, runs, **kwargs):
    """Run and return what each run has seen."""
    configs = [{"i": i} for i in range(runs)]
    summary = ExpRunner(configs, root.path).run(
        gpu_experiments.sees, mode="process_pool", workers=2, **kwargs
    )
    assert summary.succeeded == runs, [run.get("error_message") for run in root.runs()]
    return [strict(run["dir"] / "artifacts" / "seen.json") for run in root.runs()]


def test_each_run_sees_one_gpu_and_has_it_to_itself(root, uuids):
    seen = launch(root, 2 * min(len(uuids), 2), gpus="auto")
    assert all(len(run["uuids"]) == 1 and run["uuids"][0] in uuids for run in seen)
    assert len({run["variable"] for run in seen}) == min(len(uuids), 2)
    for one, other in itertools.combinations(seen, 2):
        assert (one["variable"] == other["variable"]) == (one["uuids"] == other["uuids"])
        apart = one["ended"] <= other["began"] or other["ended"] <= one["began"]
        assert apart or one["uuids"] != other["uuids"]


def test_a_number_means_the_gpu_that_it_means_to_cuda(root, uuids):
    last = len(uuids) - 1
    (seen,) = launch(root, 1, gpus=[last])
    assert seen["uuids"] == [uuids[last]]


def test_a_gpu_can_be_named_by_its_uuid(root, uuids):
    (seen,) = launch(root, 1, gpus=[uuids[0]])
    assert seen["uuids"] == [uuids[0]]


def test_the_own_restriction_of_the_launch_is_kept(root, uuids, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", uuids[-1])
    (seen,) = launch(root, 1, gpus="auto")
    assert (seen["variable"], seen["uuids"]) == (uuids[-1], [uuids[-1]])


def test_a_run_may_have_all_gpus(root, uuids):
    (seen,) = launch(root, 1, gpus="auto", gpus_per_run=len(uuids))
    assert seen["uuids"] == uuids


def test_runs_share_a_gpu_where_that_is_asked_for(root, uuids):
    seen = launch(root, 2, gpus=[0], runs_per_gpu=2)
    assert [run["uuids"] for run in seen] == 2 * [[uuids[0]]]


def test_the_drivers_word_on_free_memory_is_heeded(root, uuids):
    assert len(launch(root, 1, gpus="auto", gpu_memory_free=0.5)) == 1
    with pytest.raises(OptionError, match="is more than the GPUs have"):
        launch(root, 1, gpus="auto", gpu_memory_free=1_000_000)
