"""Jobs of a Slurm cluster: an array of pilots, each of which carries out one run after the other.

This executor submits jobs, asks for them and cancels them, by the commands ``sbatch``, ``squeue``
and ``scancel``; it needs no package and no accounting database. Start the launch where these
commands work, as on a login node.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ztxexp_core import ExecutorError, JobRequest, OptionError, hookimpl

_log = logging.getLogger("ztxexp")

supports = frozenset({"timeout", "fresh_process", "distant"})
needs = frozenset({"cpus", "gpus", "memory", "time"})

_SUBMIT_SEC, _ASK_SEC = 300.0, 60.0  # a controller under load answers late
_EARLY_SEC = 60  # so much before the time asked for Slurm may send a signal
_TRY_AGAIN = 75  # exit code of a pilot whose time is up, and which has left work

# Of the caller's variables these go along with a job; the others stay, as they are of another node,
# and those of a job from which jobs are submitted would make them wrong.
_KEPT = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "SLURM_CONF"}
_KEPT |= {f"SBATCH_{name}" for name in ("ACCOUNT", "CONSTRAINT", "PARTITION", "QOS", "RESERVATION")}

_OURS = {"array", "chdir", "clusters", "error", "export", "export-file", "get-user-env", "input"}
_OURS |= {"job-name", "no-requeue", "open-mode", "output", "parsable", "requeue", "signal", "wait"}
_OURS |= {"test-only", "wrap"}
_TAKES_NO_MORE = re.compile(r"\w*Submit\w*Limit|job submit limit")
_UNKNOWN_JOB = "Invalid job id"
_JOB = re.compile(r"(\d+)(?:_(\d+))?")

_STATES = {  # in all others a process may be there
    **dict.fromkeys(["PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"], "pending"),
    **dict.fromkeys(["RESV_DEL_HOLD", "SPECIAL_EXIT"], "pending"),
    **dict.fromkeys(["SUSPENDED", "STOPPED"], "suspended"),
    **dict.fromkeys(["CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT"], "gone"),
    **dict.fromkeys(["BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED"], "gone"),
}


_NO_NEWS = ("", "None", "Priority", "Resources", "Dependency", "BeginTime", "JobArrayTaskLimit")


@dataclass(frozen=True)
class Options:
    """Settings of the slurm executor.

    What the runs need is what each job gets: ``cpus`` is ``--cpus-per-task``, ``gpus`` is
    ``--gres=gpu:N``, ``memory`` is ``--mem``, and ``time`` comes before the option of that name.

    Attributes:
        partition: in which jobs run, or several, with commas between them.
        account: to which they are charged.
        qos: quality of service.
        time: limit of a job: seconds, or a text as for ``sbatch --time``, such as ``"2:00:00"``. A
            pilot whose time is up is queued again, as long as there is work left.
        constraint: features that nodes must have.
        setup: lines of shell before Python is started, such as ``"module load cuda"``. The shell is
            a bash, started as at a login. After ``set -e`` a line that fails ends the job.
        python: the command that runs Python, by default the Python of the launch; for a container
            something like ``"apptainer exec image.sif python"``.
        extra: further parameters of ``sbatch``, such as ``{"exclusive": True, "mail-user": "me"}``.
        runs_per_job: a job ends after so many runs; 1 is a job for each run. By default it goes on
            as long as there are runs.
        runs_at_once: how many runs a job has under way at a time.
        grace: seconds before its time is up at which a job ends its runs, which go on from their
            checkpoints in the next; a quarter of the limit where that is no longer.
        code_folder: where functions and configurations are kept for the jobs; a folder that all
            nodes see, by default ``$ZTXEXP_STATE`` or ``~/.local/state/ztxexp``.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | float | None = None
    constraint: str | None = None
    setup: str | Sequence[str] = ()
    python: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    runs_per_job: int | None = None
    runs_at_once: int = 1
    grace: float = 60.0
    code_folder: str | None = None

    def __post_init__(self) -> None:
        for name in ("runs_per_job", "runs_at_once"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise OptionError(f"{name} must be at least 1, got {number}")
        if self.grace < 0:
            raise OptionError(f"grace must not be negative, got {self.grace:g}")
        _minutes(self.time)
        for name in map(_dashed, self.extra):
            if name in _OURS:
                raise OptionError(f"extra holds {name!r}, which ztxexp sets itself; leave it out")


@hookimpl
def ztxexp_submit(request: JobRequest, options: Mapping[str, Any]) -> list[str]:
    """Submit arrays of jobs, as few as the largest size of an array allows."""
    _check_installed()
    size = _largest_array()
    ids: list[str] = []
    while len(ids) < request.count:
        count = min(size, request.count - len(ids))
        array, refusal = _submit(request, options, len(ids), count)
        if array is not None:
            ids += [f"{array}_{index}" for index in range(count)]
        elif _TAKES_NO_MORE.search(refusal) and count > 1:
            size = count // 2
        elif ids:
            text = "Slurm takes %d of %d jobs, which share all runs: %s"
            _log.warning(text, len(ids), request.count, refusal)
            break
        else:
            raise ExecutorError(f"Slurm has refused the jobs: {refusal}")
    return ids


@hookimpl
def ztxexp_jobs(ids: Sequence[str]) -> dict[str, str]:
    """Ask the controller, by arrays, as the list of all elements may be long."""
    parts = {id: match for id in ids if (match := _JOB.fullmatch(id))}
    if not parts:
        return {}
    arrays = ",".join(sorted({match[1] for match in parts.values()}))
    command = ["squeue", "-h", "-a", "-r", "-t", "all", "-o", "%i %T %r", "-j", arrays]
    done = _call(command, _ASK_SEC)
    if done.returncode != 0 and _UNKNOWN_JOB not in done.stderr:
        raise ExecutorError(f"squeue does not answer: {_message(done.stderr)}")
    lines = (line.split(None, 2) for line in done.stdout.splitlines())
    states = {words[0]: _state(*words[1:]) for words in lines if len(words) >= 2}
    return {id: states.get(id, "gone") for id in parts}


def _state(word: str, reason: str = "") -> str:
    """Return the state of a job, and why it is pending, if that is news."""
    state = _STATES.get(word, "running")
    return f"{state}: {reason}" if state == "pending" and reason not in _NO_NEWS else state


@hookimpl
def ztxexp_cancel(ids: Sequence[str]) -> None:
    """Cancel in one call; elements of an array are named as such, or Slurm would not know them."""
    arrays = list(_compact(ids))
    if not arrays:
        return
    done = _call(["scancel", *arrays], _ASK_SEC)
    if done.returncode != 0 and _UNKNOWN_JOB not in done.stderr:
        raise ExecutorError(f"scancel has failed: {_message(done.stderr)}")


# ---- submission ------------------------------------------------------------------------------


def _check_installed() -> None:
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        if shutil.which(name) is None:
            raise ExecutorError(
                f"the program {name} of Slurm is not found: start the launch where Slurm's "
                "commands work, as on a login node"
            )


def _largest_array() -> int:
    """Return how many elements an array may have."""
    done = _call(["scontrol", "show", "config"], _ASK_SEC)
    if done.returncode != 0:
        raise ExecutorError(f"Slurm's controller does not answer: {_message(done.stderr)}")
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, int(match[1])) if match else 1001  # indices are less than that; 0 is none


def _submit(
    request: JobRequest, options: Mapping[str, Any], offset: int, count: int
) -> tuple[str | None, str]:
    """Submit one array; returns its id, or ``None`` and why not."""
    command = ["sbatch", *_parameters(request, options, count)]
    done = _call(command, _SUBMIT_SEC, _script(request, options, request.first + offset))
    match = re.match(r"\d+", done.stdout.strip())
    if done.returncode == 0 and match:
        return match[0], ""
    return None, _message(done.stderr) or f"sbatch says {done.stdout.strip()!r}"


def _parameters(request: JobRequest, options: Mapping[str, Any], count: int) -> Iterator[str]:
    """Yield the parameters of sbatch."""
    at_once = ""
    if request.at_once is not None and request.at_once < request.count:
        at_once = f"%{max(1, request.at_once * count // request.count)}"
    yield from ("--parsable", f"--array=0-{count - 1}{at_once}", f"--job-name={request.name}")
    log = str(request.folder / "LOG").replace("%", "%%").removesuffix("LOG") + "%A_%a.log"
    yield from (f"--output={log}", "--open-mode=append", f"--chdir={request.workdir}")
    yield from ("--requeue", "--export=ALL", "--nodes=1", "--ntasks=1")
    for name in ("partition", "account", "qos", "constraint"):
        if options[name] is not None:
            yield f"--{name}={options[name]}"
    limit = _minutes(request.needs.get("time", options["time"]))
    if limit is not None:
        yield f"--time={limit}"
    yield f"--signal=B:TERM@{_signal(limit, options)}"
    yield from _sizes(request.needs)
    for name, value in options["extra"].items():
        if value is True:
            yield f"--{_dashed(name)}"
        elif value is not None and value is not False:
            yield f"--{_dashed(name)}={value}"


def _sizes(needs: Mapping[str, float]) -> Iterator[str]:
    if "cpus" in needs:
        yield f"--cpus-per-task={math.ceil(needs['cpus'])}"
    if needs.get("gpus"):
        if needs["gpus"] % 1:
            raise ExecutorError(f"Slurm gives whole GPUs, not {needs['gpus']:g}; see runs_at_once")
        yield f"--gres=gpu:{int(needs['gpus'])}"
    if "memory" in needs:
        yield f"--mem={math.ceil(needs['memory'] / 2**20)}M"


_SCRIPT = """\
#!/bin/bash -l
# A job of ztxexp. SIGTERM is passed on to the pilot, which then ends its runs.
pid= term=
trap 'term=1 again=1; [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null' TERM
{setup}
set +eu
{exports}
job="${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
state() {{ SLURM_TIME_FORMAT=standard squeue -h -j "$job" -o "$1" 2>/dev/null; }}
export ZTXEXP_JOB="slurm:$job:${{SLURM_RESTART_COUNT:-0}}"
export ZTXEXP_PILOT=$(({first} + SLURM_ARRAY_TASK_ID))
ends=$SLURM_JOB_END_TIME # which Slurm sets since 23.02
[ -n "$ends" ] || limit=$(state %e)
case $limit in
    *T*) ends=$(date -d "$limit" +%s) ;;
    NONE) ;;
    *) [ -n "$ends" ] || ends={ends} ;;
esac
[ -z "$ends" ] || export ZTXEXP_JOB_ENDS=$ends
[ -z "$term" ] || exit 143
(trap - INT QUIT; exec {command}) &
pid=$!
[ -z "$term" ] || kill -TERM "$pid" 2>/dev/null
while :; do
    again=
    wait "$pid"
    now=$?
    [ "$now" = 127 ] || code=$now
    [ -n "$again" ] || break
done
# Its time is up and there is work left: the same job is queued again, unless it was cancelled.
if [ "$code" = {again} ]; then
    for pause in 2 5 10; do
        case $(state %T) in
            RUNNING) scontrol requeue "$job" && exit 0 ;;
            ?*) break ;;
        esac
        sleep $pause
    done
fi
exit "$code"
"""


def _script(request: JobRequest, options: Mapping[str, Any], first: int) -> str:
    """Return the job's script, which goes to sbatch by its standard input."""
    setup = options["setup"]
    python, *arguments = request.command
    command = [options["python"] or shlex.quote(python), *map(shlex.quote, arguments)]
    limit = _minutes(request.needs.get("time", options["time"]))
    pairs = request.environment.items()
    return _SCRIPT.format(
        setup=setup if isinstance(setup, str) else "\n".join(setup),
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in pairs),
        first=first,
        ends="" if limit is None else f"$(($(date +%s) + {60 * limit}))",
        command=" ".join(command),
        again=_TRY_AGAIN,
    )


def _signal(limit: int | None, options: Mapping[str, Any]) -> int:
    """Return how many seconds before the end of its time a job gets SIGTERM from Slurm.

    Slurm may send it a minute earlier than asked for. Pilots look at the clock, and know whether
    their time is up: the signal must not come before ``grace``.
    """
    grace = float(options["grace"])
    if limit is not None and limit * 60 <= grace:
        grace = limit * 60 / 4
    return max(1, int(grace) - _EARLY_SEC)


def _minutes(limit: str | float | None) -> int | None:
    """Return a time limit in minutes, as Slurm counts them, rounded up.

    Raises:
        OptionError: it is no time.

    Example:
        >>> _minutes("1-00:30:00"), _minutes(90)
        (1470, 2)
    """
    if limit is None:
        return None
    if not isinstance(limit, str):
        if not 0 < limit < math.inf:
            raise OptionError(f"time must be over 0 seconds, got {limit:g}")
        return math.ceil(limit / 60)
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())
    if match is None:
        raise OptionError(f'time must be seconds or a text such as "2:00:00", got {limit!r}')
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is not None:  # days-hours, days-hours:minutes, days-hours:minutes:seconds
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # minutes, minutes:seconds
        hours, minutes, seconds = 0, *[*numbers, 0][:2]
    total = (int(days or 0) * 24 + hours) * 3600 + minutes * 60 + seconds
    if total == 0:
        raise OptionError(f"time must be over 0, got {limit!r}")
    return math.ceil(total / 60)


def _dashed(name: str) -> str:
    return name.strip("-").replace("_", "-")


# ---- commands --------------------------------------------------------------------------------


def _call(
    command: Sequence[str], seconds: float, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm, without variables that would change what it does."""
    kept = {n: v for n, v in os.environ.items() if n in _KEPT or n.startswith("LC_")}
    try:
        return subprocess.run(
            command,
            input=text or "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            env=kept,
            start_new_session=True,  # Ctrl-C is for the launch, which still needs the answer
        )
    except subprocess.TimeoutExpired:
        raise ExecutorError(f"{command[0]} has not answered within {seconds:g} s") from None
    except OSError as exc:
        raise ExecutorError(f"{command[0]} cannot be started: {exc}") from exc


def _message(errors: str) -> str:
    """Return what a command of Slurm says, in one line.

    Example:
        >>> _message("sbatch: error: Batch job submission failed: Invalid partition name specified")
        'Batch job submission failed: Invalid partition name specified'
    """
    lines = (re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in errors.splitlines())
    return "; ".join(line for line in lines if line)


def _compact(ids: Iterable[str]) -> Iterator[str]:
    """Yield jobs as scancel takes them, each array once.

    Example:
        >>> list(_compact(["12_0", "12_1", "12_5", "7"]))
        ['12_[0-1,5]', '7']
    """
    indices: dict[str, set[int]] = {}
    for match in filter(None, map(_JOB.fullmatch, ids)):
        of_array = indices.setdefault(match[1], set())
        if match[2] is not None:
            of_array.add(int(match[2]))
    for array, numbers in indices.items():
        yield f"{array}_[{','.join(_ranges(sorted(numbers)))}]" if numbers else array


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    start = 0
    for i, number in enumerate(numbers):
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            yield f"{numbers[start]}-{number}" if start < i else f"{number}"
            start = i + 1
