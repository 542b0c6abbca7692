"""The helper functions of 1.0.3, for scripts that import them; ztxexp itself does not use them.

Four things are better than in 1.0.3: a file is replaced as a whole, inputs are never changed,
NumPy values, dates and enum members can be written as JSON, and ``delete_dir`` and
``add_to_sys_path`` log what they did instead of printing it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import enum
import hashlib
import json
import logging
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, cast

from ztxexp_core.store.files import utc_now, write_bytes
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.values.codec import plain
from ztxexp_core.values.copying import copy_config, copy_value

_log = logging.getLogger("ztxexp")

utc_now_iso = utc_now


def create_dir(path: str | Path) -> None:
    """Make a folder and its parents; an existing one is fine."""
    os.makedirs(_home(path), exist_ok=True)


def delete_dir(path: str | Path) -> None:
    """Delete a folder with everything in it; nothing happens if there is none.

    Here alone ``~`` is not the home folder: a folder named so by mistake can be deleted.
    """
    if os.path.isdir(path):
        shutil.rmtree(path)
        _log.info("deleted the folder %s", path)


def get_subdirectories(path: str | Path) -> list[Path]:
    """Return the folders directly below a path, sorted; none if the path is not a folder."""
    folder = _home(path)
    return sorted(e for e in folder.iterdir() if e.is_dir()) if folder.is_dir() else []


def get_file_creation_time(file_path: str | Path) -> str:
    """Return when a file was made (on Unix: last changed), as ``2026/01/31-23:59:59``."""
    return datetime.fromtimestamp(os.path.getctime(_home(file_path))).strftime("%Y/%m/%d-%H:%M:%S")


def write_text_atomic(file_path: str | Path, text: str, encoding: str = "utf-8") -> None:
    """Replace a text file as a whole, so that no reader sees half of it; makes its folder."""
    data = text.encode(encoding)
    file_path = _home(file_path)
    create_dir(file_path.parent)
    write_bytes(file_path, data)


def save_json(data: dict[str, Any], file_path: str | Path, indent: int = 2) -> None:
    """Write a dictionary as JSON, as a whole; a value that JSON cannot hold is a ``TypeError``."""
    text = json.dumps(data, ensure_ascii=False, indent=indent, default=_as_json)
    write_text_atomic(file_path, text)


save_json_atomic = save_json


def load_json(file_path: str | Path) -> dict[str, Any] | None:
    """Read a JSON object; ``None`` if the file is missing or holds a list, a number or a string."""
    try:
        value = json.loads(_home(file_path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


def append_jsonl(file_path: str | Path, record: dict[str, Any]) -> None:
    """Append a record to a ``.jsonl`` file; makes its folder."""
    line = json.dumps(record, ensure_ascii=False, default=_as_json) + "\n"
    file_path = _home(file_path)
    create_dir(file_path.parent)
    with JsonlWriter(str(file_path)) as lines:
        lines.append_bytes(line.encode())


def load_jsonl(file_path: str | Path, skip_invalid: bool = False) -> list[dict[str, Any]]:
    """Read the records of a ``.jsonl`` file; none if the file is missing.

    A line that is not JSON raises ``json.JSONDecodeError``, or is left out with ``skip_invalid``. A
    line that holds something other than an object raises ``ValueError``.
    """
    records = []
    with contextlib.suppress(FileNotFoundError), open(_home(file_path), encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                if skip_invalid:
                    continue
                raise
            if not isinstance(record, dict):
                raise ValueError(f"line {number} of {file_path} is not a JSON object")
            records.append(record)
    return records


def _as_json(value: Any) -> Any:
    """Return what stands in JSON for a value that the json module does not know."""
    try:
        if isinstance(value, set):
            return sorted(value)
        if hasattr(value, "__dict__") and not isinstance(value, (PurePath, enum.Enum, type)):
            return vars(value)
        return plain(value)
    except ValueError as exc:
        raise TypeError(str(exc)) from exc


def as_plain_dict(value: Any) -> dict[str, Any]:
    """Return a copy of a mapping, a dataclass instance or a ``Namespace`` as a dictionary."""
    if isinstance(value, Mapping):
        return copy_config(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return copy_config(vars(value))
    raise TypeError(f"a {type(value).__name__} cannot be made a dictionary")


def flatten_dict(data: Mapping[str, Any], parent_key: str = "", sep: str = ".") -> dict[str, Any]:
    """Return ``{"a.b": 1}`` for ``{"a": {"b": 1}}``; empty dictionaries are left out."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{parent_key}{sep}{key}" if parent_key else str(key)
        if isinstance(value, Mapping):
            flat.update(flatten_dict(value, name, sep))
        else:
            flat[name] = value
    return flat


def unflatten_dict(data: Mapping[str, Any], sep: str = ".") -> dict[str, Any]:
    """Return ``{"a": {"b": 1}}`` for ``{"a.b": 1}``.

    Raises:
        ValueError: a key is both a value and a parent, as ``a`` in ``{"a": 1, "a.b": 2}``.
    """
    tree: dict[str, Any] = {}
    for key, value in data.items():
        node: Any = tree
        *parents, last = str(key).split(sep)
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or last in node:
            raise ValueError(f"key {key!r}: it, or a part of it, is both a value and a parent")
        node[last] = copy_value(value, key)
    return tree


def deep_merge_dicts(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` updated with ``override``; dictionaries within are merged as well."""
    merged = copy_config(base)
    for key, value in copy_config(override).items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = deep_merge_dicts(below, value)
        merged[key] = value
    return merged


def dict_diff(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``right`` has ``added``, ``removed`` and ``changed``, by dotted key.

    Example:
        >>> dict_diff({"m": {"lr": 1}, "old": 0}, {"m": {"lr": 2}})
        {'added': {}, 'removed': {'old': 0}, 'changed': {'m.lr': {'left': 1, 'right': 2}}}
    """
    one, two = flatten_dict(left), flatten_dict(right)
    return {
        "added": {k: two[k] for k in sorted(two.keys() - one.keys())},
        "removed": {k: one[k] for k in sorted(one.keys() - two.keys())},
        "changed": {
            k: {"left": one[k], "right": two[k]}
            for k in sorted(one.keys() & two.keys())
            if one[k] != two[k]
        },
    }


def pretty_print_dict(d: dict[str, Any], items_per_line: int = 3) -> None:
    """Print a dictionary as a coloured table, sorted by key; with NO_COLOR set without colours."""
    if not d:
        print("No items in dictionary to print.")
        return
    styles = ("", "", "") if os.environ.get("NO_COLOR") else ("\x1b[92m", "\x1b[94m", "\x1b[0m")
    key_style, value_style, end = styles
    cells = [(str(key), str(d[key])) for key in sorted(d)]
    key_width, value_width = (max(map(len, column)) + 4 for column in zip(*cells, strict=True))
    for first in range(0, len(cells), items_per_line):
        row = [
            f"| {key_style} {key:<{key_width}} {value_style}{value:>{value_width}} {end}"
            for key, value in cells[first : first + items_per_line]
        ]
        print("".join(row) + "|")


def pretty_print_namespace(args: argparse.Namespace, items_per_line: int = 3) -> None:
    """Print a ``Namespace`` as :func:`pretty_print_dict` does."""
    pretty_print_dict(vars(args), items_per_line)


def config_to_hash(config: dict[str, Any], length: int = 8) -> str:
    """Return the start of a SHA-256 of a configuration; the order of its keys does not matter.

    It is good for names of files. ``exclude_completed`` has a hash of its own, ``identity`` in
    ``run.json``.
    """
    text = json.dumps(config, sort_keys=True, default=_as_json)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def sanitize_filename(name: str, replacement: str = "_", max_length: int = 128) -> str:
    """Return a string as a file name: ``a_b`` for ``a: b``, ``untitled`` if nothing is left."""
    if max_length < 1:
        raise ValueError("max_length must be 1 or more")
    text = re.sub(r'[<>:"/\\|?*\x00-\x1f\s]+', lambda _: replacement, name)
    if replacement:
        text = re.sub(f"(?:{re.escape(replacement)})+", lambda _: replacement, text)
    text = text.strip(f". {replacement}")
    return text[:max_length].rstrip(replacement or None) or "untitled"


def build_run_name(
    config: Mapping[str, Any],
    keys: Sequence[str] | None = None,
    prefix: str = "run",
    max_length: int = 120,
    hash_length: int = 8,
) -> str:
    """Return a readable name: a prefix, the values of some keys (default: all), and a hash.

    Lengths are in characters. A name longer than ``max_length`` is cut before its hash.

    Example:
        >>> build_run_name({"model": "tiny", "lr": 0.001}, keys=["model", "lr"])
        'run_model-tiny_lr-0.001_b1581ab8'
    """
    shown = [key for key in (sorted(config) if keys is None else keys) if key in config]
    parts = [sanitize_filename(f"{key}-{config[key]}", max_length=40) for key in shown]
    name = "_".join([sanitize_filename(prefix, max_length=20), *parts])
    digest = config_to_hash(dict(config), hash_length)
    room = max_length - len(digest) - 1
    return f"{sanitize_filename(name, max_length=room) if len(name) > room else name}_{digest}"


def split_batches(items: Sequence[Any], batch_size: int) -> list[list[Any]]:
    """Return lists of ``batch_size`` items each; the last one may be shorter."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    return [list(items[i : i + batch_size]) for i in range(0, len(items), batch_size)]


def retry_call(
    fn: Callable[..., Any],
    *args: Any,
    max_attempts: int = 3,
    wait_sec: float = 0.0,
    backoff: float = 1.0,
    jitter_sec: float = 0.0,
    retry_exceptions: tuple[type[BaseException], ...] = (Exception,),
    **kwargs: Any,
) -> Any:
    """Call ``fn(*args, **kwargs)`` until it raises nothing, and return its result.

    Args:
        max_attempts: the exception of the last one is raised.
        wait_sec: pause after the first failure, in seconds.
        backoff: factor from one pause to the next.
        jitter_sec: upper limit of a random addition to each pause, in seconds.
        retry_exceptions: others are raised at once.
    """
    if max_attempts < 1:
        raise ValueError("max_attempts must be 1 or more")
    if min(wait_sec, backoff, jitter_sec) < 0:
        raise ValueError("wait_sec, backoff and jitter_sec must not be negative")
    for attempt in range(1, max_attempts + 1):
        try:
            return fn(*args, **kwargs)
        except retry_exceptions:
            if attempt == max_attempts:
                raise
        pause = wait_sec * backoff ** (attempt - 1) + random.uniform(0, jitter_sec)
        if pause > 0:
            time.sleep(pause)
    return None


@contextlib.contextmanager
def timer(name: str, logger: logging.Logger | None = None) -> Iterator[None]:
    """Log, or print without a logger, how long a ``with`` block took."""
    start = time.perf_counter()
    yield
    report = logger.info if logger is not None else print
    report(f"[{name}] done in {time.perf_counter() - start:.4f}s")


def format_time_delta(seconds: float) -> str:
    """Return a duration in the form ``1h 2m 3s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{int(hours)}h {int(minutes)}m {int(rest)}s"


def setup_logger(name: str, log_file: str | Path, level: int = logging.INFO) -> logging.Logger:
    """Return a logger that writes to a file and to stderr; one that has handlers keeps them."""
    logger = logging.getLogger(name)
    logger.setLevel(level)
    logger.propagate = False
    if not logger.handlers:
        log_file = _home(log_file)
        create_dir(log_file.parent)
        form = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")
        for handler in (logging.FileHandler(log_file, encoding="utf-8"), logging.StreamHandler()):
            handler.setFormatter(form)
            logger.addHandler(handler)
    return logger


def add_to_sys_path(path: str | Path) -> None:
    """Put a folder first in the places where Python looks for modules, once."""
    folder = str(_home(path).resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
        _log.info("added %s to sys.path", folder)


def get_memory_usage() -> str:
    """Return the memory that this process holds, in the form ``123.45 MB``."""
    import psutil

    return f"{psutil.Process().memory_info().rss / 1024**2:.2f} MB"


def save_torch_model(model: Any, optimizer: Any | None, epoch: int, path: str | Path) -> None:
    """Save the states of a torch model and its optimizer, and the number of an epoch."""
    torch = _optional("torch", 'pip install "ztxexp[torch]"')
    state = {
        "epoch": epoch,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": None if optimizer is None else optimizer.state_dict(),
    }
    torch.save(state, _home(path))


def load_torch_model(
    model: Any, optimizer: Any | None, path: str | Path
) -> tuple[Any, Any | None, int]:
    """Load what :func:`save_torch_model` saved; return model, optimizer and epoch."""
    torch = _optional("torch", 'pip install "ztxexp[torch]"')
    state = torch.load(_home(path), map_location="cpu", weights_only=True)
    model.load_state_dict(state["model_state_dict"])
    if optimizer is not None and state["optimizer_state_dict"] is not None:
        optimizer.load_state_dict(state["optimizer_state_dict"])
    return model, optimizer, state["epoch"]


def save_dill(obj: object, file_path: str | Path) -> None:
    """Write an object with dill."""
    dill = _optional("dill", "pip install dill")
    with open(_home(file_path), "wb") as handle:
        dill.dump(obj, handle)


def load_dill(file_path: str | Path) -> object:
    """Read an object with dill. This runs code in the file: load only what you trust."""
    dill = _optional("dill", "pip install dill")
    with open(_home(file_path), "rb") as handle:
        return cast(object, dill.load(handle))


def _home(path: str | Path) -> Path:
    """Return a path with ``~`` as the home folder."""
    return Path(path).expanduser()


def _optional(package: str, install: str) -> Any:
    try:
        return import_module(package)
    except ImportError as exc:
        raise ImportError(f"the package {package} is missing; install it: {install}") from exc
