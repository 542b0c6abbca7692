"""cores: what a process may use, with control groups of both versions, made up."""

from __future__ import annotations

import os

import pytest

from ztxexp.launch import options
from ztxexp.launch.options import LaunchOptions
from ztxexp_core import available_cores, control_groups

V2 = {
    "proc/self/cgroup": "0::/user/app\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "sys/fs/cgroup/user/app/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user/cpu.max": "100000 100000\n",
}
V1 = {
    "proc/self/cgroup": "4:memory:/box\n1:cpu,cpuacct:/box\n0::/\n",
    "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
}


def write(folder, files):
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize("files", [V2, V1], ids=["version 2", "version 1"])
def test_cores_are_at_most_what_a_control_group_grants(tmp_path, files):
    write(tmp_path, files)
    assert available_cores(tmp_path) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be bound here")
@pytest.mark.parametrize("files", [{}, {**V1, "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "-1\n"}])
def test_cores_without_a_limit_are_those_of_the_process(tmp_path, files):
    write(tmp_path, files)
    assert available_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_control_groups_are_given_from_the_process_own_up(tmp_path):
    write(tmp_path, V2)
    mount = tmp_path / "sys/fs/cgroup"
    assert list(control_groups("cpu", tmp_path)) == [mount / "user/app", mount / "user", mount]
    assert list(control_groups("cpu", tmp_path / "elsewhere")) == []


def test_minus_one_worker_means_as_many_as_there_are_cores_available(monkeypatch):
    assert LaunchOptions(workers=-1).worker_count() == available_cores()
    monkeypatch.setattr(options, "available_cores", lambda: 3)  # by a quota, say
    assert LaunchOptions(workers=-1).worker_count() == 3
