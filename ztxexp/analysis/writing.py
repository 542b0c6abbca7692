"""Frames on their way to a file or to standard output, in the format of its ending."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.tables import csv_text_of, is_mixed, json_text
from ztxexp.text.format import encodable, sheet_text
from ztxexp_core.errors import OptionError, ZtxexpError
from ztxexp_core.values.codec import plain

if TYPE_CHECKING:
    import pandas as pd

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}
_NEEDS = {"parquet": ("pyarrow", "parquet"), "xlsx": ("openpyxl", "excel")}


def frame_format(path: str | None, asked: str | None) -> str:
    """Return the format of a file, or what is asked for; CSV where neither says it.

    Raises:
        OptionError: the ending says no format, or the format needs a file.
    """
    if asked is None and path is not None:
        asked = _ENDINGS.get(os.path.splitext(path)[1].lower())
        if asked is None:
            raise OptionError(f"{path}: the ending says no format; known: {', '.join(_ENDINGS)}")
    asked = asked or "csv"
    if asked in _NEEDS and path is None:
        raise OptionError(f"{asked} needs a file: -o FILE.{asked}")
    return asked


def frame_text(frame: pd.DataFrame, fmt: str) -> str:
    """Return a frame as text: CSV, tab-separated, JSON or JSON lines."""
    return _TEXT[fmt](frame)


def write_frame(frame: pd.DataFrame, fmt: str, path: str) -> None:
    """Write a frame to a file.

    Args:
        frame: the frame.
        fmt: ``csv``, ``json`` or another that an ending names.
        path: the file.

    Raises:
        ZtxexpError: the file cannot be written, or a package for it is missing.
    """
    try:
        if fmt in _NEEDS:
            _BINARY[fmt](frame, path)
            return
        text = frame_text(frame, fmt)
        with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
    except OSError as exc:
        raise ZtxexpError(f"{path} cannot be written: {exc.strerror or exc}") from exc
    except ImportError as exc:
        package, extra = _NEEDS[fmt]
        raise ZtxexpError(
            f"{path} was not written: {package} cannot be used ({exc}); run "
            f'pip install "ztxexp[{extra}]"'
        ) from exc


def _tsv(frame: pd.DataFrame) -> str:
    return str(csv_text_of(frame, "\t"))


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = frame.astype(object).to_dict("records")
    return [{str(key): None if _is_na(v) else plain(v) for key, v in row.items()} for row in rows]


def _is_na(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (type(value) is float and value != value)


def _json(frame: pd.DataFrame) -> str:
    return json.dumps(_rows(frame), indent=2, allow_nan=False) + "\n"


def _jsonl(frame: pd.DataFrame) -> str:
    return "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in _rows(frame))


def _parquet(frame: pd.DataFrame, path: str) -> None:
    written = frame.rename(columns=str)
    for at in range(frame.shape[1]):
        if is_mixed(frame.iloc[:, at]):  # Parquet has no type for it
            written.isetitem(at, [json_text(cell) for cell in frame.iloc[:, at]])
    written.to_parquet(path, engine="pyarrow", index=False)


def _xlsx(frame: pd.DataFrame, path: str) -> None:
    written = frame.astype(object)
    for at in range(frame.shape[1]):
        cells = [_sheet_cell(cell) for cell in frame.iloc[:, at].tolist()]
        written.isetitem(at, cells)
    written.columns = [sheet_text(encodable(str(name))) for name in frame.columns]
    written.to_excel(path, engine="openpyxl", index=False)


def _sheet_cell(cell: Any) -> Any:
    if isinstance(cell, (list, dict, tuple)):
        cell = json_text(cell)
    return sheet_text(encodable(cell))


_TEXT: dict[str, Callable[[pd.DataFrame], str]] = {
    "csv": csv_text_of,
    "tsv": _tsv,
    "json": _json,
    "jsonl": _jsonl,
}
_BINARY: dict[str, Callable[[pd.DataFrame, str], None]] = {"parquet": _parquet, "xlsx": _xlsx}
