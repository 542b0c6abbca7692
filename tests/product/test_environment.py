"""The process an experiment runs in: reproducible numbers, a device, a priority."""

import logging
import random
import subprocess
import sys

import pytest

from ztxexp import environment
from ztxexp.environment import init_torch_env, set_process_priority

numpy = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def restore_cudnn():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    yield
    cudnn.deterministic, cudnn.benchmark = before


def draw():
    return random.random(), numpy.random.rand(), torch.rand(3).tolist()


def test_equal_seeds_give_equal_numbers_and_others_do_not():
    init_torch_env(seed=7, use_gpu=False)
    first = draw()
    init_torch_env(seed=7, use_gpu=False)
    assert draw() == first
    init_torch_env(seed=8, use_gpu=False)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_the_default_seed_is_3407():
    init_torch_env()
    first = draw()
    init_torch_env(3407)
    assert draw() == first


def test_the_device_is_the_cpu_where_no_gpu_is_wanted_or_there():
    assert init_torch_env(use_gpu=False, gpu_id=99) == torch.device("cpu")
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert str(init_torch_env()) == expected


def test_cudnn_is_told():
    init_torch_env(1, False, 0, True, True)
    assert torch.backends.cudnn.deterministic is True
    assert torch.backends.cudnn.benchmark is True
    init_torch_env(use_gpu=False)
    assert torch.backends.cudnn.deterministic is False
    assert torch.backends.cudnn.benchmark is False


@pytest.mark.parametrize("gpu_id", [2, -1])
def test_a_device_that_does_not_exist_is_named(monkeypatch, gpu_id):
    # The fault needs a machine with two GPUs; only what torch says of them is pretended.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=rf"gpu_id {gpu_id} .* 2 CUDA device"):
        init_torch_env(gpu_id=gpu_id)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_cannot_take_is_refused(seed):
    with pytest.raises(ValueError, match=r"[Ss]eed must be between"):
        init_torch_env(seed=seed, use_gpu=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_warning_once(caplog):
    environment._warn_of_cpu.cache_clear()
    init_torch_env(use_gpu=False)
    assert caplog.messages == []
    init_torch_env()
    init_torch_env()
    assert [message[:28] for message in caplog.messages] == ["torch finds no CUDA device a"]


def test_the_device_is_logged_not_printed(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="ztxexp"):
        init_torch_env(seed=5, use_gpu=False)
    assert "torch uses cpu, seed 5" in caplog.text
    assert capsys.readouterr().out == ""


def run(code, *command):
    done = subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_torch_the_error_tells_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from ztxexp.environment import init_torch_env\n"
        "try: init_torch_env()\n"
        "except ImportError as exc: print(exc)"
    )
    assert 'pip install "ztxexp[torch]"' in run(code)


def test_the_module_imports_nothing_heavy():
    code = (
        "import sys, ztxexp.environment\n"
        "print([m for m in ('torch', 'numpy', 'psutil') if m in sys.modules])"
    )
    assert run(code) == "[]"


def priority_code(word):
    return (
        "import os; from ztxexp.environment import set_process_priority\n"
        f"try: set_process_priority({word!r}); print(os.getpriority(os.PRIO_PROCESS, 0))\n"
        "except PermissionError as exc: print('refused', exc)"
    )


posix = pytest.mark.skipif(sys.platform == "win32", reason="nice values are of POSIX")


@posix
@pytest.mark.parametrize(("word", "value"), [("low", 10), (" LOW ", 10), ("normal", 0)])
def test_a_priority_is_a_nice_value(word, value):
    assert run(priority_code(word)) == str(value)


@posix
@pytest.mark.parametrize("word", ["high", "High "])
def test_a_high_priority_is_set_or_refused_with_the_way_out(word):
    said = run(priority_code(word))
    assert said == "-10" or ("no permission" in said and "'low'" in said)


@posix
def test_a_user_without_the_right_is_told_so():
    import os

    if os.geteuid() != 0:
        pytest.skip("needs root to give up its rights")
    code = f"import os; os.setgid(65534); os.setuid(65534)\n{priority_code('high')}"
    # The modules must be loaded before the rights are gone: the folder may be closed to others.
    said = run("import ztxexp.environment, psutil\n" + code)
    assert said.startswith("refused no permission to set the priority")


@pytest.mark.parametrize("word", ["hgih", "", None, 3])
def test_an_unknown_priority_names_the_known_ones(word):
    with pytest.raises(ValueError, match="'high', 'normal' or 'low'"):
        set_process_priority(word)
