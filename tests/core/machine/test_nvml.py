"""nvml: what the driver tells, through NVML or nvidia-smi, and what is said where it tells nothing.

A script stands in the place of nvidia-smi and a module in that of pynvml, since neither the faults
nor the machines are to be had otherwise. The real nvidia-ml-py is asked too, without a driver.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time

import pytest
from pretended_gpus import UUIDS

from ztxexp.launch.gpus import GpuSlots
from ztxexp_core.errors import OptionError
from ztxexp_core.machine import nvml

pytestmark = pytest.mark.usefixtures("no_gpus_known")


# ---- nvidia-smi ------------------------------------------------------------------------------

LISTED = """cat <<'END'
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa11)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bb22)
END"""


def test_nvidia_smi_is_asked_where_there_is_no_nvml(smi):
    smi(LISTED.replace("cat", "/bin/cat"))
    assert GpuSlots.of("auto").gpus == ("0", "1")
    with pytest.raises(OptionError, match="no GPU 2: this machine has 2"):
        GpuSlots.of([2])
    with pytest.raises(OptionError, match="not one GPU 'GPU-cc'"):
        GpuSlots.of(["GPU-cc"])
    assert GpuSlots.of(["GPU-bb"]).gpus == ("GPU-bb",)


def test_nvidia_smi_lists_the_parts_of_gpus_in_mig_mode(smi):
    smi(
        "/bin/cat <<'END'\n"
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa11)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-1)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-2)\n"
        "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bb22)\n"
        "END"
    )
    slots = GpuSlots.of("auto")
    assert slots.gpus == ("MIG-1", "MIG-2", "GPU-bb22")
    assert slots.take("a") == {"CUDA_VISIBLE_DEVICES": "MIG-1"}


def test_nvidia_smi_is_left_alone_where_the_variable_says_enough(smi, visible, tmp_path):
    smi(f"echo called > {tmp_path}/called")
    visible("4")
    assert GpuSlots.of("auto").gpus == ("4",)
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo broken driver >&2; exit 9", "failed with exit code 9: broken driver"),
        ("exit 9", "failed with exit code 9"),
        ("echo No devices found", "nvidia-smi lists none"),
        ("exec /bin/sleep 60", r"did not answer in 0.3 s"),
    ],
)
def test_auto_says_why_it_found_none_and_how_to_go_on(smi, monkeypatch, script, said):
    monkeypatch.setattr(nvml, "_SMI_SEC", 0.3)
    smi(script)
    began = time.monotonic()
    with pytest.raises(
        OptionError, match=rf"found no GPU \(.*ztxexp\[gpu\].*{said}.*gpus=\[0, 1\]"
    ):
        GpuSlots.of("auto")
    assert time.monotonic() - began < 30


def test_an_nvidia_smi_that_fails_costs_listed_gpus_nothing(smi):
    smi("exit 9")
    assert GpuSlots.of([3]).gpus == ("3",)


def test_a_broken_nvidia_smi_is_reported(smi, tmp_path):
    smi("")
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/no/such/program\n")
    with pytest.raises(OptionError, match="nvidia-smi cannot be started"):
        GpuSlots.of("auto")


# ---- NVML ------------------------------------------------------------------------------------


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
    assert "there is no 7 here" in caplog.text
    visible("GPU-bbbb,GPU-cccc")
    assert GpuSlots.of("auto").gpus == ("GPU-bbbb",)


def test_the_parts_of_gpus_in_mig_mode_are_given_out_one_by_one(pretended):
    module = pretended((80, 80, 80))
    module.parts = {UUIDS[0]: ["MIG-1", "MIG-2"], UUIDS[2]: []}
    assert GpuSlots.of("auto").gpus == ("MIG-1", "MIG-2", UUIDS[1])
    assert GpuSlots.of(["MIG-2"]).gpus == ("MIG-2",)
    older = f"MIG-{UUIDS[0]}/1/0"  # as drivers before 470 name them, but NVML does not any more
    assert GpuSlots.of([older]).gpus == (older,)


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
    with pytest.raises(OptionError, match=r"NVML does not answer: .*; there is no nvidia-smi"):
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
        nvml.Nvml()
    assert module.open == 0 and kept.value
