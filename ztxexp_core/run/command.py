"""Commands as experiments: a process for each run, with the values of its configuration."""

from __future__ import annotations

import codecs
import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.errors import CommandFailed, ConfigError, closest
from ztxexp_core.machine.memory import memory_kills
from ztxexp_core.run.current import ATTEMPT, CONFIG, METRICS, RUN_DIR, RUN_ID, log_step
from ztxexp_core.run.printed import (
    METRIC_LINE,
    SEVERAL_IN_A_LINE,
    Lines,
    MetricsFile,
    PrintedMetrics,
)
from ztxexp_core.run.program import run_program
from ztxexp_core.store.files import RunFiles, open_to_write
from ztxexp_core.values.codec import plain
from ztxexp_core.values.copying import flat, lookup

VARIABLES = (RUN_DIR, RUN_ID, ATTEMPT, CONFIG, METRICS)
"""Variables that a command gets; each may stand in braces among its words as well."""

PYTHON = ("python", "python3")
"""Names that stand for the Python of this process, unless an environment has been activated."""

_ACTIVATED = ("VIRTUAL_ENV", "CONDA_PREFIX")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_KILL, _KILLS_SEC = 9, 1.0
_SIGNAL_CODE = 128  # a shell ends with this and the number of the signal that ended its command


class Command:
    """An ``exp_fn(ctx)`` that runs a command; can be sent to workers.

    Args:
        words: the program and its arguments, with ``{key}`` where values of the configuration go.
        pattern: of printed lines that are metrics; ``None`` for none.
        files: the words that are files of the user's: place among the words, and absolute path.

    Attributes:
        text: the words as a person would type them.
        keys: the keys that the words name.
        cwd: the working folder when it was made, from which relative paths are meant.

    Raises:
        ConfigError: a brace that names no key.
    """

    reads_code_anew = True  # each run, unlike a function that has been imported

    def __init__(
        self,
        words: Sequence[str],
        pattern: str | None = METRIC_LINE,
        files: Mapping[int, str] | None = None,
        cwd: str | None = None,
    ):
        self.words = tuple(words)
        self.pattern = pattern
        self.files = dict(files or {})
        self.cwd = os.getcwd() if cwd is None else cwd
        self.text = " ".join(word if _is_plain(word) else shlex.quote(word) for word in self.words)
        names = dict.fromkeys(name for word in self.words for name in names_in(word))
        self.keys = tuple(name for name in names if name not in VARIABLES)
        self.mentions_config = any(CONFIG in word for word in self.words)

    def __reduce__(self) -> tuple[Any, ...]:
        return Command, (self.words, self.pattern, self.files, self.cwd)

    def filled(self, config: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
        """Return the words with values in the places of their keys.

        Raises:
            ConfigError: the configuration lacks a key.
        """
        words = [_filled(word, config, variables) for word in self.words]
        if os.getcwd() != self.cwd:  # workdir="run"
            for place, path in self.files.items():
                words[place] = path
        if words[0] in PYTHON and not any(map(os.environ.get, _ACTIVATED)):
            words[0] = sys.executable
        return words

    def __call__(self, ctx: RunContext) -> dict[str, Any] | None:
        files = RunFiles(ctx.run_dir)
        variables = {
            RUN_DIR: str(ctx.run_dir),
            RUN_ID: ctx.run_id,
            ATTEMPT: str(ctx.attempt),
            CONFIG: files.config,
            METRICS: f"{files.base}/program-metrics.jsonl",
        }
        words = self.filled(ctx.config, variables)
        ctx.checkpoints_dir  # noqa: B018  makes it, so that the program need not
        ctx.logger.info("command: %s", shlex.join(words))

        def log(step: int | None, metrics: Mapping[str, Any], split: str, phase: str) -> None:
            log_step(ctx, step, metrics, split, phase)

        reported = MetricsFile(variables[METRICS], log, ctx.logger.warning)
        ignored = {str(key) for key, _ in flat(ctx.config)}
        printed = PrintedMetrics(self.pattern, ignored, log) if self.pattern else None
        lines = Lines(printed.line if printed else lambda line: None)
        environment = {"PYTHONUNBUFFERED": "1", **os.environ, **variables}
        kills = _MemoryKills()
        with _Output(files.log) as output:

            def on_output(data: bytes) -> None:
                output.write(data)
                lines.feed(data)

            def on_look() -> None:
                reported.read()
                kills.look()

            try:
                code = run_program(words, environment, on_output, on_look)
            finally:
                lines.end()
                reported.end()
        if code:
            killed = code in (-_KILL, _SIGNAL_CODE + _KILL)
            raise _failure(code, list(lines.tail), killed and kills.lately())
        if printed is not None and printed.near and not (printed.last or reported.last):
            (ctx._sink or ctx._own_sink()).notify(
                f"no metrics were found; lines such as {printed.near!r} have some, in a form that "
                "takes a pattern of its own (--metric-pattern, metric_pattern=), such as "
                f"'{SEVERAL_IN_A_LINE}'"
            )
        metrics = {**(printed.last if printed else {}), **reported.last, **reported.final}
        return metrics or None


def names_in(word: str) -> list[str]:
    """Return the keys that a word names in braces; two braces stand for one.

    Raises:
        ConfigError: a brace that names none.

    Example:
        >>> names_in("--lr={model.lr}")
        ['model.lr']
    """
    names = []
    for match in _PIECE.finditer(word):
        piece, name = match[0], match[1]
        if piece in ("{{", "}}"):
            continue
        if not name or not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(
                f"command: {piece!r} in {word!r} names no key of the configuration; for a brace "
                "that the program is to see write two: {{ or }}"
            )
        names.append(name)
    return names


_MISSING = object()


def _filled(word: str, config: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0][0]
        if name in variables:
            return variables[name]
        value = lookup(config, name, _MISSING)
        if value is _MISSING:
            raise ConfigError(lacks(name, config))
        return value_text(value)

    return _PIECE.sub(value_of, word)


def lacks(name: str, config: Mapping[str, Any]) -> str:
    """Return the message about a key of a command that a configuration does not have."""
    known = [str(key) for key, _ in flat(config)]
    near = closest(name, [*known, *VARIABLES])
    return f"the command names {{{name}}}, which the configuration does not have{near}"


def value_text(value: Any) -> str:
    """Return a value as a command gets it: as Python's ``str``, lists and mappings as JSON.

    Example:
        >>> value_text(1e-05), value_text(True), value_text([64, 64])
        ('1e-05', 'True', '[64, 64]')
    """
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return json.dumps(plain(value))
    return str(value)


def _is_plain(word: str) -> bool:
    """Return whether a word needs no quotes to be read; braces do not."""
    return ".." not in word and bool(re.fullmatch(r"[\w@%+=:./{}-]+", word, re.ASCII))


def _failure(code: int, tail: list[str], out_of_memory: bool) -> CommandFailed:
    signum = -code if code < 0 else None
    if signum is not None:
        text = f"ended by signal {signum}{_signal_name(signum)}"
    else:
        text = f"exit code {code}"
        if name := _signal_name(code - _SIGNAL_CODE):
            text += f", as shells say of signal {code - _SIGNAL_CODE}{name}"
    if out_of_memory:
        text += ": the machine, or its control group, was out of memory"
    if tail:
        text = f"{text}: {tail[-1].strip()}"
    if len(tail) > 1:
        text = "\n  ".join([f"{text}\nIt printed last:", *tail])
    return CommandFailed(text, None if signum else code, signum, out_of_memory)


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""


class _MemoryKills:
    """Knows whether the kernel has killed something for lack of memory in the last seconds."""

    def __init__(self) -> None:
        self._counts = [memory_kills()] * 2  # the kernel counts before it kills
        self._looked = time.monotonic()

    def look(self) -> None:
        if time.monotonic() - self._looked >= _KILLS_SEC:
            self._looked = time.monotonic()
            self._counts = [self._counts[1], memory_kills()]

    def lately(self) -> bool:
        return memory_kills() > self._counts[0]


class _Output:
    """Writes what a program prints to ``run.log``, and in the launching process to its output."""

    def __init__(self, path: str):
        self._path = path
        self._fd: int | None = None
        self._last = b"\n"
        self._shown = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __enter__(self) -> _Output:
        self._fd = open_to_write(self._path)
        self._shown = not _is_file_of(1, self._fd)
        return self

    def write(self, data: bytes) -> None:
        """Write at once."""
        self._last = data[-1:]
        view = memoryview(data)
        while self._fd is not None and view:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError:  # the disk is full: the run goes on, as one that prints does
                break
        if self._shown:
            self._show(self._decoder.decode(data))

    def _show(self, text: str) -> None:
        try:
            try:
                sys.stdout.write(text)
            except UnicodeEncodeError:
                sys.stdout.write(text.encode("ascii", "backslashreplace").decode())
            sys.stdout.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none: run.log has it
            self._shown = False

    def __exit__(self, *exc: object) -> None:
        if self._last != b"\n":
            self.write(b"\n")  # a message of the run's begins a line of its own
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _is_file_of(one: int, other: int) -> bool:
    """Return whether two descriptors lead to one file."""
    try:
        return os.path.sameopenfile(one, other)
    except OSError:  # it is closed
        return False
