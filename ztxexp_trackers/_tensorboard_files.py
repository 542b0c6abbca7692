"""The event files of TensorBoard in the folder of one run: written, and read back.

TensorBoard reads the files of a folder in the order of their names. Of what a run has once, such as
its hyperparameters, it keeps the first that it finds. So what may change goes into a file that
comes before all others and is replaced whole; all else is appended.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ztxexp_core import importing

_LONGEST = 64 * 2**20  # bytes of an event
_PREFIX = "events.out.tfevents."
_FIRST = f"{_PREFIX}{0:010d}.first"
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected


@dataclass
class Contents:
    """What is in the event files of a run.

    Attributes:
        points: tag, step and time of every scalar.
        latest: the step and value of each tag's last scalar.
        start: how the run began, with its hyperparameters (a ``SessionStartInfo``).
        end: how it ended (a ``SessionEndInfo``).
    """

    points: set[tuple[str, int, float]] = field(default_factory=set)
    latest: dict[str, tuple[int, float]] = field(default_factory=dict)
    start: Any = None
    end: Any = None


class EventFolder:
    """The event files of one run.

    Args:
        path: their folder; made when something is written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: FileIO | None = None
        self._size = 0

    def append(self, events: Iterable[Any]) -> None:
        """Write events behind all others, all of them or none.

        Raises:
            OSError: they could not be written.
        """
        data = b"".join(map(_framed, events))
        if not data:
            return
        if self._file is None:
            self._file, self._size = self._new_file(), 0
        if self._size == 0:
            data = _framed(_version()) + data
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(f"only a part could be written to {self._file.name}: disk full?")
        except BaseException:
            # A torn event would hide all that come after it.
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise
        self._size += len(data)

    def replace_first(self, events: Iterable[Any]) -> None:
        """Write the events that come before all others, in place of the earlier ones.

        Raises:
            OSError: they could not be written; the earlier ones stand.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".first.{os.getpid()}.tmp"  # a name that TensorBoard passes over
        try:
            temporary.unlink(missing_ok=True)
            with open(temporary, "xb") as file:  # not through a link
                file.write(b"".join(map(_framed, (_version(), *events))))
            os.replace(temporary, self.path / _FIRST)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def close(self) -> None:
        """Close the file; what is appended later goes into another one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> Contents:
        """Return what the files hold.

        Raises:
            OSError: one of them cannot be read.
        """
        contents = Contents()
        for name in self._names():
            for event in _events(self.path / name):
                for value in event.summary.value:
                    _learn(contents, event, value)
        return contents

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.path) if name.startswith(_PREFIX))
        except FileNotFoundError:
            return []

    def _new_file(self) -> FileIO:
        """Open a file that comes after all there are."""
        self.path.mkdir(parents=True, exist_ok=True)
        numbers = (name[len(_PREFIX) :].partition(".")[0] for name in self._names())
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        number = max(int(time.time()), last + 1)
        name = f"{_PREFIX}{number:010d}.{socket.gethostname()}.{os.getpid()}"
        return open(self.path / name, "xb", buffering=0)


@functools.cache
def messages() -> SimpleNamespace:
    """Return the classes of the messages in event files.

    From the tensorboard package, but nothing of it that would import TensorFlow or NumPy.

    Raises:
        PluginImportError: it is not installed.
    """
    install = 'pip install "ztxexp[tensorboard]"'
    with importing("tensorboard", "tracker", "tensorboard", install):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams import plugin_data_pb2
    return SimpleNamespace(
        event=event_pb2.Event,
        summary=summary_pb2.Summary,
        hparams=plugin_data_pb2.HParamsPluginData,
        session_start=plugin_data_pb2.SessionStartInfo,
        session_end=plugin_data_pb2.SessionEndInfo,
    )


def _version() -> Any:
    return messages().event(wall_time=time.time(), file_version="brain.Event:2")


def _learn(contents: Contents, event: Any, value: Any) -> None:
    if value.HasField("simple_value"):
        tag, step = value.tag, event.step
        contents.points.add((tag, step, event.wall_time))
        contents.latest[tag] = (step, value.simple_value)
    elif value.metadata.plugin_data.plugin_name == "hparams":
        data = messages().hparams.FromString(value.metadata.plugin_data.content)
        if data.HasField("session_start_info") and contents.start is None:
            contents.start = data.session_start_info
        elif data.HasField("session_end_info") and contents.end is None:
            contents.end = data.session_end_info


# ---- records: a length, its checksum, that many bytes, their checksum --------------------------


def _framed(event: Any) -> bytes:
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _events(path: Path) -> Iterator[Any]:
    """Yield the events of a file, up to where it is torn: TensorBoard reads no further either.

    Checksums are not looked at: in Python that would take longer than all the rest.
    """
    make, left = messages().event, path.stat().st_size
    with open(path, "rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack_from("<Q", head)
            left -= 12 + length + 4
            if length == 0 or left < 0 or length > _LONGEST:
                return
            try:
                event = make.FromString(file.read(length + 4)[:length])
            except Exception:  # no message
                return
            yield event


def _checksum(data: bytes) -> bytes:
    """Return CRC-32C as TensorFlow masks it."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


@functools.cache
def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = (number >> 1) ^ (_POLYNOMIAL if number & 1 else 0)
        table.append(number)
    return table
