"""What a run says of itself besides its metrics: parameters, artifacts, final figures.

Each is a line of ``extras.jsonl``; artifacts lie below ``artifacts/``.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.store.run_folder import RunFiles, utc_now
from ztxexp_core.values.codec import plain

PARAMS, ARTIFACT, SUMMARY = "params", "artifact", "summary"


def keep_artifact(artifacts: Path, path: str | Path, name: str | None) -> tuple[Path, str]:
    """Put a file or folder among a run's artifacts; returns where it is, and its name there.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the name leads out of the folder.
        OSError: it cannot be copied.
    """
    source, home = Path(path).absolute(), artifacts.absolute()
    if not source.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such artifact", str(path))
    if name is None:
        inside = source != home and source.is_relative_to(home) and ".." not in source.parts
        name = (source.relative_to(home) if inside else Path(source.name)).as_posix()
    target = home / _checked(name)
    if not (target.exists() and os.path.samefile(source, target)):
        _copy(source, target)
    return target, name


def _checked(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
        raise ValueError(
            f"artifact name {name!r} leads out of the run's artifacts; "
            'give a name or a path below it, such as "figures/loss.png"'
        )
    return name


def _copy(source: Path, target: Path) -> None:
    """Copy whole: what stood there stays until the copy is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        if source.is_dir():
            shutil.copytree(source, temporary)
            shutil.rmtree(target, ignore_errors=True)
        else:
            shutil.copy2(source, temporary)
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
        raise


class ExtrasLog:
    """Writes ``extras.jsonl`` of one attempt of a run; safe to call from several threads.

    Args:
        run_dir: the run's folder.
        attempt: number of the attempt, as it stands in every line.
        writes: whether there is a file at all.

    Attributes:
        summary: the figures set so far, as they would stand in ``metrics.json``.
    """

    def __init__(self, run_dir: Path, attempt: int | None, writes: bool = True):
        self._run_dir = run_dir
        self._attempt = attempt
        self._writer = JsonlWriter(RunFiles(run_dir).extras) if writes else None
        self.summary: dict[str, Any] = {}

    def params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Write parameters down and return them in plain form.

        Raises:
            ConfigError: a value has no form in JSON; the message names its key.
        """
        found: dict[str, Any] = plain(dict(params))
        self._write(PARAMS, params=found)
        return found

    def artifact(self, path: str | Path, name: str | None) -> tuple[Path, str]:
        """Keep an artifact and write it down, see :func:`keep_artifact`."""
        kept, name = keep_artifact(self._run_dir / "artifacts", path, name)
        self._write(ARTIFACT, name=name)
        return kept, name

    def set_summary(self, values: Mapping[str, Any]) -> None:
        """Write final figures down, which are in plain form already."""
        self.summary.update(values)
        self._write(SUMMARY, summary=dict(values))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, event: str, **fields: Any) -> None:
        if self._writer is not None:
            row = {"event": event, "timestamp": utc_now(), "attempt": self._attempt, **fields}
            self._writer.append(row)
