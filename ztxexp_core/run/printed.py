"""Metrics of a program: from the lines that it prints, and from the file that it appends to."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Container, Mapping
from typing import Any

from ztxexp_core.store.files import open_regular, open_to_write
from ztxexp_core.values.codec import decode, is_number, numbers

METRIC_LINE = (
    r"^\s*(?P<name>[A-Za-z_][\w./-]*(?: [A-Za-z_][\w./-]*){0,2})\s*[:=]"
    r"\s*(?P<value>[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|(?i:nan|inf)))\s*$"
)
"""Lines such as ``accuracy: 0.93`` and ``val loss = 1e-3``; a name has three words at most."""

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|(?i:nan|inf))"
_PAIR = rf"(?P<name>[A-Za-z_][\w./-]*)\s*[:=]\s*(?P<value>{_NUMBER})"
_PAIRS = re.compile(rf"{_PAIR}(?:\s*[,;|]\s*|\s+|$)")
_COUNT = re.compile(
    r"\s*[\[(]?\s*(?i:epoch|step|iteration|iter)\s*[:=#]?\s*(?P<step>\d+)(?:\s*/\s*\d+)?\s*[\])]?"
    r"(?:\s*[:,;|-]+\s*|\s+)"
)
"""What begins a line such as ``epoch 3/10: loss=0.5, acc=0.9``, all of whose rest are pairs."""

SEVERAL_IN_A_LINE = r"(?<!\S)(?P<name>[A-Za-z_][\w./-]*)[:=]\s*(?P<value>[-+.\deE]+)(?=[\s,;|)]|$)"
"""A pattern for lines such as ``epoch 3: loss=0.5, acc=0.9``."""

_NUMBERS = re.compile(r"[-+]?\d[\d.]*(?:[eE][-+]?\d+)?")
_NEAR_CHARS = 80
_STEPS = frozenset({"step", "epoch", "iteration"})  # names that number what follows
_LINE_BYTES = 8192  # of a line that are looked at
_FILE_LINE_BYTES = 2**20
_NUMBER_CHARS = 100
_NAMES_LIMIT = 1000
_TAIL_LINES, _TAIL_CHARS = 20, 300
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LINE_ENDS = re.compile(rb"[\r\n]")

Log = Callable[["int | None", Mapping[str, Any], str, str], None]
"""Called with step, metrics, split and phase."""


class Lines:
    """Cuts what a program prints into lines, of which any length may come.

    A carriage return ends a line too: a progress bar is many.
    """

    def __init__(self, on_line: Callable[[str], None]):
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._on_line = on_line
        self._rest = b""
        self._skipping = False  # the rest of a line that is too long

    def feed(self, data: bytes) -> None:
        """Take what has been printed."""
        *lines, rest = _LINE_ENDS.split(self._rest + data)
        for line in lines:
            self._line(line)
        self._rest = rest
        if len(rest) > _LINE_BYTES:
            self._line(rest)
            self._rest, self._skipping = b"", True

    def end(self) -> None:
        """Take the last line, which may have no end."""
        self._line(self._rest)
        self._rest = b""

    def _line(self, line: bytes) -> None:
        if self._skipping:
            self._skipping = False
            return
        text = line[:_LINE_BYTES].decode(errors="replace")
        text = _COLOUR.sub("", text) if "\x1b" in text else text
        if text.strip():
            self.tail.append(text.rstrip()[:_TAIL_CHARS])
            if len(line) <= _LINE_BYTES:
                self._on_line(text)


class PrintedMetrics:
    """Finds metrics in printed lines.

    Args:
        pattern: an expression with the groups ``name`` and ``value``, perhaps ``step``.
        ignored: names that are no metrics, because the program repeats its configuration.
        log: called for each one.

    Attributes:
        last: the last value of each name.
        near: a line that has names and numbers in another form than the default one, with ``N``
            for the numbers.
    """

    def __init__(self, pattern: str, ignored: Container[str], log: Log):
        self._pattern = re.compile(pattern)
        self._has_step = "step" in self._pattern.groupindex
        self._by_default = pattern == METRIC_LINE
        self._ignored = ignored
        self._log = log
        self._step: int | None = None  # as printed, for what follows
        self._times: Counter[str] = Counter()
        self.last: dict[str, float] = {}
        self.near: str | None = None

    def line(self, text: str) -> None:
        """Look at one line."""
        if self._by_default and ":" not in text and "=" not in text:
            return
        if self._by_default and self._pairs(text):
            return
        if self._by_default and self.near is None and not self.last:
            pairs = re.findall(SEVERAL_IN_A_LINE, text)
            if any(name not in self._ignored and name.lower() not in _STEPS for name, _ in pairs):
                self.near = _NUMBERS.sub("N", text.strip())[:_NEAR_CHARS]
        for match in self._pattern.finditer(text):
            name, value = match["name"], _number(match["value"])
            if not name or value is None:
                continue
            name = name.strip()
            if self._by_default and name in self._ignored:
                continue
            if name not in self._times and len(self._times) >= _NAMES_LIMIT:
                continue  # no metrics, but a table, say
            if self._by_default and name.lower() in _STEPS and value % 1 == 0:
                self._step = int(value)
                continue
            step = self._step
            if self._has_step and (printed := _number(match["step"])) is not None:
                step = int(printed)
            if step is None:
                step = self._times[name]
            self._times[name] += 1
            self.last[name] = value
            self._log(step, {name: value}, "train", "fit")

    def _pairs(self, text: str) -> bool:
        """Take a line that holds several pairs and nothing else, after the number of an epoch."""
        count = _COUNT.match(text)
        at = count.end() if count else len(text) - len(text.lstrip())
        values: dict[str, float] = {}
        while match := _PAIRS.match(text, at):
            at = match.end()
            value = _number(match["value"])
            if value is not None and match["name"] not in self._ignored:
                values[match["name"]] = value
        if at < len(text.rstrip()) or not values or not (count or len(values) > 1):
            return False
        step = int(count["step"]) if count else self._step
        numbered = {name: values.pop(name) for name in list(values) if name.lower() in _STEPS}
        if numbered and not count:
            step = self._step = int(next(iter(numbered.values())))
        for name, value in values.items():
            if name not in self._times and len(self._times) >= _NAMES_LIMIT:
                continue
            own = self._times[name] if step is None else step
            self._times[name] += 1
            self.last[name] = value
            self._log(own, {name: value}, "train", "fit")
        return True


def _number(text: str | None) -> float | None:
    try:
        known = text is not None and len(text) <= _NUMBER_CHARS
        return float(text.replace("_", "")) if text is not None and known else None
    except ValueError:  # of a pattern of the user's
        return None


class MetricsFile:
    """Reads JSON lines that a program appends to a file.

    Args:
        path: the file; an earlier one is removed.
        log: called for each line.
        refuse: called with a message about a line that cannot be used.

    Attributes:
        last: the last value of each name; where several splits have it, with the name of the split
            before it, unless that is ``train``.
        final: what lines with ``"final": true`` say.
    """

    def __init__(self, path: str, log: Log, refuse: Callable[[str], None]):
        self._path, self._log, self._refuse = path, log, refuse
        self._offset = self._lines = 0
        self._rest = b""
        self._last: dict[tuple[str, str], Any] = {}
        self.final: dict[str, Any] = {}
        self.remove()
        os.close(open_to_write(path))

    def read(self) -> None:
        """Read the lines that have been completed."""
        try:
            with open(open_regular(self._path), "rb") as file:
                if file.seek(0, os.SEEK_END) < self._offset:  # written anew
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                data = file.read()
        except (OSError, ValueError):  # the program has removed it, or put a pipe there
            return
        if data:
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._line(line)

    def end(self) -> None:
        """Read the rest, and remove the file: all of it is among the run's metrics."""
        self.read()
        self._line(self._rest)
        self._rest = b""
        self.remove()

    def remove(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    @property
    def last(self) -> dict[str, Any]:
        """The last value of each name."""
        splits: dict[str, set[str]] = {}
        for split, name in self._last:
            splits.setdefault(name, set()).add(split)
        return {
            name if split == "train" or len(splits[name]) == 1 else f"{split}_{name}": value
            for (split, name), value in self._last.items()
        }

    def _line(self, line: bytes) -> None:
        self._lines += bool(line)
        if not line.strip():
            return
        try:
            row = decode(line[: _FILE_LINE_BYTES + 1]) if len(line) <= _FILE_LINE_BYTES else None
        except ValueError:
            row = None
        if not isinstance(row, dict):
            self._refuse(
                f"line {self._lines} of $ZTXEXP_METRICS is not a JSON object, such as "
                f'{{"step": 1, "loss": 0.5}}: {line[:100].decode(errors="replace")!r}'
            )
            return
        step, split, phase = row.pop("step", None), row.pop("split", None), row.pop("phase", None)
        if row.pop("final", False) is True:
            self.final.update(row)
            return
        if step is not None and not (is_number(step) and step % 1 == 0):
            self._refuse(f"line {self._lines} of $ZTXEXP_METRICS has no integer step: {step!r}")
            step = None
        values = {name: numbers(value) for name, value in row.items()}
        metrics = {k: v for k, v in values.items() if is_number(v) or isinstance(v, (bool, dict))}
        split = str(split or "train")
        if metrics:
            self._log(None if step is None else int(step), metrics, split, str(phase or "fit"))
        self._last.update({(split, name): value for name, value in metrics.items()})
