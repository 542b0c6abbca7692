"""A Slurm cluster of two nodes on this machine: ``with slurm_cluster.cluster() as slurm``.

It lives in a folder of its own, with a key, ports and a configuration of its own, and touches no
other Slurm of the machine. It runs as root and as an ordinary user, whose jobs alone it then
carries out. Each node pretends to have 4 cores, 4 GB and 2 GPUs.

As a program, ``python slurm_cluster.py FOLDER PID``, it is the process that keeps the daemons
running: it starts each that is not under way, unless a file ``hold/NAME`` is there. It ends when
the file ``over`` is there, or the process PID has ended, or after an hour, and with it all daemons
and all processes of jobs.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from programs import find, needs

NODES = ("node1", "node2")
CPUS, MEMORY_MB, GPUS = 4, 4000, 2  # of a node
MAX_ARRAY_SIZE = 21  # so the highest index of an array is 20
_DAEMONS = ("munged", "slurmctld", *NODES)
_GPU_FILES = ("/dev/null", "/dev/zero")  # Slurm wants a device for each; nobody opens it
_WAIT_SEC = 90.0  # for a daemon, on a busy machine
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: who loses its parent becomes a child of this process

_CONF = """
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# cred_expire is also how long a job that was requeued waits before it starts again; 5 is the least
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=20
OverTimeLimit=0
MinJobAge=10
MaxArraySize={arrays}
SlurmctldTimeout=30
SlurmdTimeout=12
GresTypes=gpu
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE DefMemPerCPU=100 PriorityTier=5
PartitionName=urgent Nodes={names} MaxTime=INFINITE DefMemPerCPU=100 PriorityTier=10
PartitionName=spare Nodes={names} MaxTime=INFINITE DefMemPerCPU=100 PriorityTier=1
PartitionName=narrow Nodes={names} MaxTime=60 DefMemPerCPU=100 PriorityTier=5
"""
_NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
    "RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN"
)


@contextlib.contextmanager
def cluster() -> Iterator[Slurm]:
    """Start a cluster, named in ``SLURM_CONF`` while it lasts; skip where Slurm is missing."""
    for program in ("slurmctld", "slurmd", "sbatch", "munged"):
        needs(program)
    with tempfile.TemporaryDirectory(prefix="zs", dir="/tmp", ignore_cleanup_errors=True) as name:
        slurm = Slurm(Path(name).resolve())  # a short path: there are sockets in it
        slurm.configure()
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(slurm.conf)
        try:
            slurm.begin()
            yield slurm
        finally:
            slurm.end()
            os.environ.pop("SLURM_CONF")
            if before is not None:
                os.environ["SLURM_CONF"] = before


class Slurm:
    """A cluster, and what can happen to it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.name = folder.name.replace("_", "").lower()

    def configure(self) -> None:
        """Write what the daemons read."""
        for name in ("munge", "ctld", "log", "hold", *NODES):
            (self.folder / name).mkdir()
        for name in ("", "munge"):  # for users whom a test plays
            (self.folder / name).chmod(0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        ports = _free_ports(1 + len(NODES))
        sizes = {"cpus": CPUS, "memory": MEMORY_MB, "gpus": GPUS}
        nodes = [
            _NODE.format(name=name, host=host, port=port, **sizes)
            for name, port in zip(NODES, ports[1:], strict=True)
        ]
        text = _CONF.format(
            name=self.name,
            host=host,
            port=ports[0],
            user=getpass.getuser(),
            folder=self.folder,
            arrays=MAX_ARRAY_SIZE,
            nodes="\n".join(nodes),
            names=",".join(NODES),
        )
        self.conf.write_text(text)
        gpus = [f"Name=gpu File={file} Flags=nvidia_gpu_env\n" for file in _GPU_FILES]
        (self.folder / "gres.conf").write_text("".join(gpus))
        (self.folder / "cgroup.conf").touch()

    def begin(self) -> None:
        """Start the daemons, as no children of this process, and wait until jobs can start."""
        code = (
            "import subprocess, sys; out = open(sys.argv[3] + '/log/keeper', 'wb'); "
            "subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=subprocess.DEVNULL, "
            "stdout=out, stderr=out)"
        )
        command = [sys.executable, __file__, str(self.folder), str(os.getpid())]
        subprocess.run([sys.executable, "-c", code, *command], check=True, cwd="/")
        for node in NODES:
            self.wait_for_node(node)

    def end(self) -> None:
        """End the daemons and all jobs."""
        (self.folder / "over").touch()
        self._wait(lambda: self._daemon("keeper") is None, "the end of the cluster")

    def ask(self, *command: str, check: bool = True) -> str:
        """Return what a command of Slurm prints."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if check:
            assert done.returncode == 0, (command, done.stderr)
        return done.stdout.strip()

    def submit(self, script: str, *arguments: str) -> str:
        """Submit a job from a test's own hand; returns its id."""
        command = ["sbatch", "--parsable", f"--output={self.folder}/log/job-%A_%a.log", *arguments]
        text = f"#!/bin/sh\n{script}\n"
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def states(self) -> dict[str, str]:
        """Return the state of each job that the controller knows, by id."""
        lines = self.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_for_state(self, job: str, *states: str, seconds: float = _WAIT_SEC) -> None:
        """Wait until a job is in one of the states; ``""`` is of one that is not known."""
        self._wait(lambda: self.states().get(job, "") in states, f"{job} {states}", seconds)

    def wait_for_node(self, node: str, *states: str) -> None:
        """Wait until a node can take jobs, or is in one of the states."""
        wanted = states or ("idle", "mixed", "allocated", "completing")
        command = ("sinfo", "-h", "-N", "-n", node, "-p", "main", "-o", "%T")
        self._wait(lambda: self.ask(*command, check=False) in wanted, f"{node} {wanted}")

    def kill(self, daemon: str, jobs: bool = False) -> None:
        """Kill ``slurmctld``, ``node1`` or ``node2``, which stays away until :meth:`start`.

        The controller gets SIGTERM, or it would lose what it has not saved for a while.

        Args:
            daemon: which.
            jobs: the processes of the node's jobs are killed as well, as when a machine is lost.
        """
        (self.folder / "hold" / daemon).touch()
        process = self._daemon(daemon)
        victims = [] if process is None else [process]
        if jobs:
            victims += [p for p in self._of_jobs() if _variable(p, "SLURMD_NODENAME") == daemon]
            victims += self._steps(daemon)
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL if daemon in NODES else signal.SIGTERM)
        self._wait(lambda: self._daemon(daemon) is None, f"the end of {daemon}")

    def start(self, daemon: str) -> None:
        """Start a daemon again that was killed."""
        (self.folder / "hold" / daemon).unlink(missing_ok=True)
        if daemon in NODES:
            self.wait_for_node(daemon)
        else:
            self._wait(lambda: "UP" in self.ask("scontrol", "ping", check=False), daemon)

    def _daemon(self, name: str) -> psutil.Process | None:
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            process = psutil.Process(int((self.folder / f"{name}.started").read_text()))
            if process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _of_jobs(self) -> list[psutil.Process]:
        return [p for p in self._of_cluster() if "SLURMD_NODENAME" in _environment(p)]

    def _steps(self, node: str) -> list[psutil.Process]:
        """Return the parents of a node's jobs, and all below them; their environment is gone."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name().startswith("slurmstepd"):
                    files = [file.path for file in process.open_files()]
                    if f"{self.folder}/log/{node}.log" in files:
                        found += [process, *process.children(recursive=True)]
        return found

    def _of_cluster(self) -> list[psutil.Process]:
        """Return the processes of daemons and jobs, as their environment names the cluster."""
        found = []
        for process in psutil.process_iter():
            environment = _environment(process)
            if environment.get("ZTXEXP_TEST_CLUSTER") == self.name or (
                environment.get("SLURM_CLUSTER_NAME") == self.name and process.pid != os.getpid()
            ):
                found.append(process)
        return found

    def _wait(self, until: Callable[[], bool], what: str, seconds: float = _WAIT_SEC) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                logs = sorted((self.folder / "log").iterdir())
                tails = [
                    f"== {log.name}\n{log.read_text('utf-8', 'replace')[-1500:]}" for log in logs
                ]
                raise AssertionError("\n".join([f"not seen in {seconds:g} s: {what}", *tails]))
            time.sleep(0.1)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.Error, OSError):
        return {}


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _variable(process: psutil.Process, name: str) -> str | None:
    return _environment(process).get(name)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _commands(folder: Path) -> dict[str, list[str]]:
    munge, conf = folder / "munge", str(folder / "slurm.conf")
    daemons = {
        "munged": [
            *(str(find("munged")), "--foreground", "--force", "--num-threads=2"),
            *(f"--key-file={munge}/key", f"--socket={munge}/socket", f"--pid-file={munge}/pid"),
            *(f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
        ],
        "slurmctld": [str(find("slurmctld")), "-D", "-f", conf],
    }
    for node in NODES:
        daemons[node] = [str(find("slurmd")), "-D", "-N", node, "-f", conf]
    return daemons


def main(folder: Path, pid: int) -> None:
    """Keep the daemons running."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    (folder / "keeper.started").write_text(str(os.getpid()))
    slurm, processes = Slurm(folder), {}
    owner = psutil.Process(pid)
    until = time.monotonic() + 3600
    commands = _commands(folder)
    try:
        while (
            owner.is_running()
            and owner.status() != psutil.STATUS_ZOMBIE
            and not (folder / "over").exists()
            and time.monotonic() < until
        ):
            _start_missing(slurm, commands, processes)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # of jobs, whose parents have ended
                    pass
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        pass
    finally:
        _end_all(slurm)
        if not (folder / "over").exists():  # else whoever has asked for the end removes it
            shutil.rmtree(folder, ignore_errors=True)


def _start_missing(slurm: Slurm, commands: dict[str, list[str]], processes: dict[str, int]) -> None:
    """Start each daemon that is not under way and not held back."""
    for name, command in commands.items():
        if name in processes and psutil.pid_exists(processes[name]):
            continue
        if (slurm.folder / "hold" / name).exists():
            continue
        if name != "munged" and not (slurm.folder / "munge" / "socket").exists():
            continue
        marks = {"ZTXEXP_TEST_CLUSTER": slurm.name, "SLURM_CONF": str(slurm.conf)}
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **marks}
        with open(slurm.folder / "log" / f"{name}.out", "ab") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
            )
        processes[name] = process.pid
        (slurm.folder / f"{name}.started").write_text(str(process.pid))


def _end_all(slurm: Slurm) -> None:
    """Kill what belongs to the cluster; each time, as new processes may have been made."""
    until = time.monotonic() + 30
    keeper = psutil.Process()
    while time.monotonic() < until:
        left = [*slurm._of_cluster(), *keeper.children(recursive=True)]
        left = [process for process in left if process.pid != keeper.pid and _lives(process)]
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
