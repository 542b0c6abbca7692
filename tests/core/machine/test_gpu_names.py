"""What the user wrote, within what CUDA_VISIBLE_DEVICES leaves.

The driver cannot be asked here, so names are not checked.
"""

from __future__ import annotations

import pytest

from ztxexp.launch.gpus import GpuSlots
from ztxexp_core.errors import OptionError

pytestmark = pytest.mark.usefixtures("no_gpus_known")


def test_without_gpus_there_are_no_slots():
    assert GpuSlots.of(None) is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("4,5", ("4", "5")),
        ("5, 4", ("5", "4")),
        ("0,2,-1,1", ("0", "2")),
        ("3,none,1", ("3",)),
        ("1,,2", ("1",)),
        ("007", ("7",)),
        ("GPU-8932f937,GPU-1e", ("GPU-8932f937", "GPU-1e")),
        ("GPU-8932f937,0", ("GPU-8932f937",)),
        ("0,GPU-8932f937", ("0",)),
        ("MIG-41b3,MIG-52c4", ("MIG-41b3", "MIG-52c4")),
        ("MIG-GPU-8932f937/1/0", ("MIG-GPU-8932f937/1/0",)),
    ],
)
def test_auto_takes_what_the_variable_leaves_as_cuda_reads_it(visible, value, found):
    visible(value)
    assert GpuSlots.of("auto").gpus == found


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles", " ", "1,1", "GPU-", ",0"])
@pytest.mark.parametrize("gpus", ["auto", [0]])
def test_a_variable_that_leaves_none_is_named(visible, gpus, value):
    visible(value)
    with pytest.raises(OptionError, match=rf"CUDA_VISIBLE_DEVICES='{value}' leaves no GPU"):
        GpuSlots.of(gpus)


def test_numbers_count_among_those_that_the_variable_leaves(visible):
    visible("4,5")
    assert GpuSlots.of([0, 1]).gpus == ("4", "5")
    assert GpuSlots.of((1,)).gpus == ("5",)
    with pytest.raises(OptionError, match=r"no GPU 2: CUDA_VISIBLE_DEVICES=4,5 leaves 2"):
        GpuSlots.of([0, 2])


def test_numbers_reach_uuids_of_the_variable(visible):
    visible("GPU-aa,MIG-bb")
    assert GpuSlots.of([0]).gpus == ("GPU-aa",)


def test_a_uuid_must_be_one_that_the_variable_leaves(visible):
    visible("GPU-8932f937,GPU-1e2f")
    assert GpuSlots.of(["GPU-1e2f"]).gpus == ("GPU-1e2f",)
    with pytest.raises(OptionError, match=r"no GPU 'GPU-cc': .*GPU-8932f937,GPU-1e2f leaves 2"):
        GpuSlots.of(["GPU-cc"])
    visible("0,1")
    with pytest.raises(OptionError, match="name one as nvidia-smi -L or the variable does"):
        GpuSlots.of(["GPU-89"])


def test_numbers_and_uuids_are_believed_where_nobody_can_be_asked():
    assert GpuSlots.of([0, 7]).gpus == ("0", "7")
    assert GpuSlots.of(range(2)).gpus == ("0", "1")
    assert GpuSlots.of(["GPU-aa", "GPU-bb"]).gpus == ("GPU-aa", "GPU-bb")


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (2, r"gpus=2: write gpus=\[0, 1\]"),
        (True, r'write gpus=\[0, 1\].* or gpus="auto"'),
        (1.5, r'write gpus=\[0, 1\], or gpus="auto"'),
        ({0, 1}, "write gpus="),
        ([], "names no GPU"),
        ([0, 0], r"twice \(0\)"),
        (["GPU-aa", "GPU-aa"], r"twice \(GPU-aa\)"),
        ([-1], "-1 is not a GPU"),
        ([True], "True is not a GPU"),
        (["0"], "without quotes"),
        ([None], "None is not a GPU"),
        ([0.0], "0.0 is not a GPU"),
        ([0, "GPU-aa"], "all by number or all by UUID"),
        ("0,1", r"gpus='0,1': write gpus=\[0, 1\]"),
        ("autto", "did you mean 'auto'"),
        ("", 'or gpus="auto" for all'),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(gpus, said):
    with pytest.raises(OptionError, match=said):
        GpuSlots.of(gpus)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"runs_per_gpu": 0}, "runs_per_gpu must be a whole number from 1, got 0"),
        ({"runs_per_gpu": 1.5}, "runs_per_gpu must be"),
        ({"runs_per_gpu": True}, "runs_per_gpu must be"),
        ({"gpus_per_run": 0}, "gpus_per_run must be a whole number from 1, got 0"),
        ({"gpus_per_run": "2"}, "gpus_per_run must be"),
        ({"gpus_per_run": 3}, r"there are 2 GPUs to choose from \(GPU 0, GPU 1\)"),
        ({"memory_free": 0}, "gpu_memory_free must be a number of GiB over 0, got 0"),
        ({"memory_free": "20"}, "gpu_memory_free must be"),
        ({"memory_free": True}, "gpu_memory_free must be"),
        ({"memory_free": float("nan")}, "gpu_memory_free must be"),
        ({"memory_free": float("inf")}, "gpu_memory_free must be"),
    ],
)
def test_what_is_asked_of_the_gpus_is_checked(kwargs, said):
    with pytest.raises(OptionError, match=said):
        GpuSlots.of([0, 1], **kwargs)


@pytest.mark.parametrize("kwargs", [{"runs_per_gpu": 2}, {"gpus_per_run": 2}, {"memory_free": 1}])
def test_what_is_asked_of_gpus_is_not_forgotten_where_there_are_none(kwargs):
    with pytest.raises(OptionError, match="need GPUs to count on"):
        GpuSlots.of(None, **kwargs)


def test_a_process_gets_no_two_parts_of_a_gpu_in_mig_mode(visible):
    visible("MIG-aa,MIG-bb")
    assert GpuSlots.of("auto").capacity == 2
    with pytest.raises(OptionError, match="sees one part"):
        GpuSlots.of("auto", gpus_per_run=2)
