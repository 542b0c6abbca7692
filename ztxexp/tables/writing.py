"""How a table is written: methods that hand it to the module of each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class WritableTable:
    """Part of :class:`ztxexp.tables.model.Table`.

    Attributes:
        source: what is needed to make it again.
    """

    if TYPE_CHECKING:

        @property
        def source(self) -> Mapping[str, Any]:
            """A field of the table."""

    def __str__(self) -> str:
        return str(_writer("text.table_text")(self))

    def _repr_html_(self) -> str:
        return str(_writer("html.html_text")(self, record=False))

    def to_latex(
        self, path: str | Path | None = None, siunitx: bool = False, **options: Any
    ) -> str:
        r"""Return the table as LaTeX, and write it to a file where one is named.

        It needs the package booktabs. Comments say which runs each cell is made of, for
        :meth:`verify`.

        Args:
            path: the file.
            siunitx: columns of type ``S``, which need the package siunitx.
            options: see :func:`ztxexp.tables.latex.latex_text`.

        Example:
            >>> analyzer.table("model", "dataset", "accuracy").to_latex("tables/scores.tex")
        """
        latex_text = _writer("latex.latex_text")
        return _written(latex_text(self, siunitx=siunitx, path=path, **options), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Return the table as Markdown, and write it to a file where one is named.

        Example:
            >>> print(analyzer.table("model", "dataset", "accuracy").to_markdown())
        """
        return _written(_writer("markdown.markdown_text")(self, path=path), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the table as HTML, and write it to a file where one is named.

        Example:
            >>> analyzer.table("model", "dataset", "accuracy").to_html("scores.html")
        """
        return _written(_writer("html.html_text")(self, path=path), path)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return the numbers of the table as CSV, and write them to a file where one is named.

        Example:
            >>> analyzer.table("model", "dataset", "accuracy").to_csv("scores.csv")
        """
        return _written(_writer("csv.csv_text")(self), path)

    def to_excel(self, path: str | Path) -> None:
        """Write the table to an Excel file, as numbers, with the spread in cells of its own.

        Needs openpyxl (``pip install "ztxexp[excel]"``).

        Example:
            >>> analyzer.table("model", "dataset", "accuracy").to_excel("scores.xlsx")
        """
        _writer("excel.write_excel")(self, path)

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers of the table as a frame.

        Example:
            >>> analyzer.table("model", "dataset", "accuracy").to_frame()
        """
        made: pd.DataFrame = _writer("frame.frame")(self)
        return made

    def verify(self, path: str | Path) -> list[Any]:
        """Return where a file that was written from a table differs from what the runs give now.

        Example:
            >>> assert not analyzer.table("model", "dataset", "accuracy").verify("scores.tex")
        """
        problems: list[Any] = _writer("verify.verify")([path], self.source["root"])
        return problems


def _writer(path: str) -> Callable[..., Any]:
    """Return a function of this package by name: those that write a table know what a table is."""
    module, _, name = path.partition(".")
    function: Callable[..., Any] = getattr(import_module(f"ztxexp.tables.{module}"), name)
    return function


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text if text.endswith("\n") else f"{text}\n")
    return text
