"""A report as one file: :class:`Report`."""

from __future__ import annotations

import html
import os
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ztxexp.report.page import head_line, page
from ztxexp.report.schema import Payload
from ztxexp.text.format import plural, size
from ztxexp.text.html import Html, block, escaped, note, title
from ztxexp_core.errors import ConfigError, ZtxexpError
from ztxexp_core.store.files import write_bytes

_OTHERS = frozenset(
    (".pdf", ".png", ".svg", ".csv", ".tsv", ".json", ".jsonl", ".md", ".tex", ".txt", ".xlsx")
)


@dataclass
class Report:
    """Runs as one HTML page, which opens from disk without any network.

    Attributes:
        payload: what the page shows, as :mod:`ztxexp.report.schema` describes it.
        text: the page.
        path: the file, once it is written.

    Example:
        >>> report = ResultAnalyzer("./results").report("report.html")
        >>> report.path.stat().st_size
        1402331
    """

    payload: Payload = field(repr=False)
    text: str = field(repr=False)
    path: Path | None = None

    @classmethod
    def of(cls, payload: Payload) -> Report:
        """Make the page."""
        return cls(payload, page(payload))

    @property
    def taken(self) -> list[str]:
        """What was taken out of an anonymous report, a line each."""
        return self.payload["anonymous"] or []

    @property
    def size(self) -> int:
        """Size of the page in bytes."""
        return len(self.text.encode())

    def save(self, path: str | Path) -> Path:
        """Write the page to a file; a reader sees the old one or the new one, never a part.

        Args:
            path: the file; its folder has to be there.

        Returns:
            Its absolute path.

        Raises:
            ConfigError: its ending is that of another format.
            ZtxexpError: it cannot be written.

        Example:
            >>> analyzer.report().save("report.html")
            PosixPath('/home/me/report.html')
        """
        place = checked_path(path)
        try:
            write_bytes(place, self.text.encode())
        except OSError as exc:
            raise ZtxexpError(f"{path} cannot be written: {exc.strerror or exc}") from exc
        self.path = place
        return place

    def open(self) -> bool:
        """Show the file in a browser; return whether there is one.

        Raises:
            ZtxexpError: it was not written yet.
        """
        if self.path is None:
            raise ZtxexpError("the report is no file yet: report.save('report.html') writes it")
        return webbrowser.open(self.path.as_uri())

    def summary(self) -> str:
        """Return in one line what stands in the report.

        Example:
            >>> report.summary()
            '12 runs: 12 succeeded; code v1; 42 s of computing; 24 curves'
        """
        parts = [head_line(self.payload), *_curves(self.payload["curves"])]
        return "; ".join(parts)

    def __str__(self) -> str:
        where = self.path if self.path is not None else "not written yet: .save('report.html')"
        return f"report of {self.summary()} ({size(self.size)}; {where})"

    def _repr_html_(self) -> str:
        about = f"{self.summary()} ({size(self.size)})"
        if self.path is None:
            return block(title("Report"), about, note("not a file yet: .save('report.html')"))
        link = html.escape(self.path.as_uri(), quote=True)
        name = escaped(self.path.name)
        opens = Html(f'<a href="{link}" target="_blank" rel="noopener">{name}</a>')
        return block(title("Report"), about, opens)


def _curves(curves: Mapping[str, object]) -> list[str]:
    series, thinned, left_out = (curves[name] for name in ("series", "thinned", "left_out"))
    parts = []
    if isinstance(series, list) and series:
        text = plural(len(series), "curve")
        if thinned:
            text += f", {thinned} thinned to {curves['most']:,} points"
        parts.append(text)
    if left_out:
        parts.append(f"curves of {left_out} more runs left out")
    return parts


def checked_path(path: str | Path) -> Path:
    """Return the absolute path of a file to which a report can be written, as far as it shows.

    Raises:
        ConfigError: its ending is that of another format.
        ZtxexpError: it is a folder, or there is none to write it in.
    """
    place = Path(os.path.abspath(path))
    if place.suffix.lower() in _OTHERS:
        raise ConfigError(f"{path}: a report is HTML; name it {place.stem}.html")
    if place.is_dir():
        raise ZtxexpError(f"{path} is a folder; name a file in it: {place / 'report.html'}")
    if not place.parent.is_dir():
        raise ZtxexpError(f"{path} cannot be written: there is no folder {place.parent}")
    return place
