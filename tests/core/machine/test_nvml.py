"""What the driver says through NVML, and what is said where it says nothing.

A module stands in for pynvml, since the faults and the machines are not available otherwise. The
real nvidia-ml-py is asked too, without a driver.
"""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
from pretended_gpus import UUIDS

from ztxexp.launch.gpus import GpuSlots
from ztxexp_core.errors import OptionError
from ztxexp_core.machine.gpus import GpuMemory, Nvml

pytestmark = pytest.mark.usefixtures("no_gpus_known")


def test_nvml_tells_how_many_there_are(pretended):
    module = pretended((80, 80))
    assert GpuSlots.of("auto").gpus == ("0", "1")
    assert GpuSlots.of([1]).gpus == ("1",)
    with pytest.raises(OptionError, match=r'no GPU 2: this machine has 2.*gpus="auto"'):
        GpuSlots.of([0, 2])
    assert module.open == 0 and not module.asked


def test_entries_of_the_variable_that_nvml_does_not_know_end_it(pretended, visible, caplog):
    pretended((80, 80))
    visible("1,7,0")
    assert GpuSlots.of("auto").gpus == ("1",)
    assert "there is no GPU 7, so the list ends there" in caplog.text
    visible("GPU-bbbb,GPU-cccc")
    assert GpuSlots.of("auto").gpus == ("GPU-bbbb",)


def test_the_parts_of_gpus_in_mig_mode_are_given_out_one_by_one(pretended):
    module = pretended((80, 80, 80))
    module.parts = {UUIDS[0]: ["MIG-1", "MIG-2"], UUIDS[2]: []}
    assert GpuSlots.of("auto").gpus == ("MIG-1", "MIG-2", UUIDS[1])
    assert GpuSlots.of(["MIG-2"]).gpus == ("MIG-2",)
    older = f"MIG-{UUIDS[0]}/1/0"  # as drivers before 470 name them, but NVML does not any more
    assert GpuSlots.of([older]).gpus == (older,)


def test_without_the_package_auto_names_the_extra_and_listed_gpus_are_believed():
    with pytest.raises(OptionError, match=r"found no GPU \(.*ztxexp\[gpu\].*gpus=\[0, 1\]"):
        GpuSlots.of("auto")
    assert GpuSlots.of([3]).gpus == ("3",)
    with pytest.raises(OptionError, match=r"cannot be watched .*ztxexp\[gpu\]"):
        GpuMemory()


def test_a_uuid_that_the_driver_does_not_list_is_refused(pretended):
    pretended((80, 80))
    assert GpuSlots.of(["GPU-bbbb"]).gpus == ("GPU-bbbb",)
    with pytest.raises(OptionError, match="there is no GPU 'GPU-zz': this machine has 2"):
        GpuSlots.of(["GPU-zz"])


def test_a_machine_without_gpus_is_said_to_have_none(pretended):
    pretended(())
    with pytest.raises(OptionError, match=r"found no GPU \(NVML lists none\)"):
        GpuSlots.of("auto")


def test_the_real_package_without_a_driver_is_no_reason_to_fail(monkeypatch):
    monkeypatch.delitem(sys.modules, "pynvml")
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has a driver")
    assert GpuSlots.of([0]).gpus == ("0",)
    with pytest.raises(OptionError, match=r"found no GPU \(NVML does not answer: "):
        GpuSlots.of("auto")
    with pytest.raises(OptionError, match=r"gpu_memory_free cannot be watched.*ztxexp\[gpu\]"):
        GpuSlots.of([0], memory_free=1)


def test_nvml_is_not_imported_before_it_is_needed():
    code = "import sys, ztxexp.launch.gpus; assert 'pynvml' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nvml_is_let_go_of(pretended):
    module = pretended((80, 80))
    slots = GpuSlots.of("auto", memory_free=1)
    assert module.open == 1
    slots.close()
    slots.close()
    assert module.open == 0
    slots = GpuSlots.of("auto", memory_free=1)
    del slots
    gc.collect()
    assert module.open == 0
    for bad in ({"memory_free": 999}, {"gpus_per_run": 9}):
        with pytest.raises(OptionError) as kept:  # and with it whatever the traceback refers to
            GpuSlots.of("auto", **bad)
        assert module.open == 0 and kept.value
    GpuSlots.of("auto").close()
    assert module.open == 0


def test_a_driver_that_cannot_list_its_gpus_is_let_go_of_and_believed_to_have_them(
    pretended, monkeypatch
):
    module = pretended((80,))

    def lost(number):
        raise module.NVMLError("GPU is lost")

    monkeypatch.setattr(module, "nvmlDeviceGetHandleByIndex", lost)
    assert GpuSlots.of([3]).gpus == ("3",)
    with pytest.raises(OptionError, match="cannot tell which GPUs there are: GPU is lost"):
        GpuSlots.of("auto")
    with pytest.raises(OptionError) as kept:
        Nvml()
    assert module.open == 0 and kept.value
