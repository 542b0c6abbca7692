"""Whole pages from payloads, as ``ztxexp report`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ztxexp.report.page import page


def write_page(path: Path, payload: dict[str, Any]) -> str:
    """Write the page of a payload and return its address."""
    path.write_text(page(payload), encoding="utf-8")  # type: ignore[arg-type]
    return path.as_uri()
