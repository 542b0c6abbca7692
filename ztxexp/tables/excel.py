"""A table as an Excel file: numbers that can be computed with, and a sheet of the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ztxexp.tables.heading import Frame, frame_of
from ztxexp.tables.model import RANK_DECIMALS, Cell, Place, Table, emphasis
from ztxexp.tables.numbers import is_percentage, names_of, numbers_of, values_of
from ztxexp.text.format import encodable, sheet_text
from ztxexp_core.errors import ZtxexpError


def write_excel(table: Table, path: str | Path) -> None:
    """Write a table to an Excel file.

    The sheet ``table`` has mean, spread and n in cells of their own, as numbers with the format of
    the table: the best bold, the second underlined. The sheet ``runs`` has each value with its run.

    Args:
        table: the table.
        path: the file.

    Raises:
        ZtxexpError: openpyxl is missing, or the file cannot be written.

    Example:
        >>> write_excel(table, "scores.xlsx")
    """
    try:
        from openpyxl import Workbook
    except ImportError as exc:
        raise ZtxexpError(
            f"{path} was not written: openpyxl cannot be used ({exc}); run "
            'pip install "ztxexp[excel]"'
        ) from exc
    book = Workbook()
    sheet = book.active
    sheet.title = "table"
    _Sheet(sheet, table).write()
    _write_runs(book.create_sheet("runs"), table)
    try:
        book.save(path)
    except OSError as exc:
        raise ZtxexpError(f"{path} cannot be written: {exc.strerror or exc}") from exc


class _Sheet:
    """Writes the sheet of the table."""

    def __init__(self, sheet: Any, table: Table):
        from openpyxl.styles import Alignment, Border, Font, Side

        self.sheet, self.table = sheet, table
        self.frame: Frame = frame_of(table)
        self.names = names_of(table)
        self.bold, self.second = Font(bold=True), Font(underline="single")
        self.italic = Font(italic=True)
        self.centred = Alignment(horizontal="center")
        self.line = Border(bottom=Side(style="thin"))
        self.above = Border(top=Side(style="thin"))

    def write(self) -> None:
        """Write heads, rows and notes."""
        row = self._heads()
        self.sheet.freeze_panes = self.sheet.cell(row, self.frame.n_labels + 1)
        for line in self.frame.lines:
            if line.title:
                self._put(row, 1, line.title).font = self.italic
                row += 1
            labels = self._labels(line.row)
            for at, label in enumerate(labels, 1):
                self._put(row, at, label)
            for col in range(len(self.table.cols)):
                self._numbers(row, (line.row, col))
            if line.rule:
                for at in range(1, self.sheet.max_column + 1):
                    self.sheet.cell(row, at).border = self.above
            row += 1
        for at, sentence in enumerate(self.table.footer):
            self._put(row + 1 + at, 1, sentence)
        self._widths()

    def _labels(self, row: int) -> list[Any]:
        """Return numbers as such where they are not called otherwise."""
        one, width = self.table.rows[row], self.frame.n_labels
        labels = [*one.labels, *[""] * width][:width]
        values = values_of(one, width)
        return [
            value
            if isinstance(value, (int, float)) and label not in self.table.relabelled
            else label
            for value, label in zip(values, labels, strict=True)
        ]

    def _heads(self) -> int:
        """Write the heads, and return the row below them."""
        n, size = self.frame.n_labels, len(self.names)
        self._put(1, 1, self.frame.corner).font = self.bold
        for level, heads in enumerate(self.frame.levels, 1):
            for head in heads:
                first = n + 1 + size * head.first
                cell = self._put(level, first, head.text)
                cell.font, cell.alignment = self.bold, self.centred
                last = first + size * head.span - 1
                if last > first:
                    self.sheet.merge_cells(
                        start_row=level, start_column=first, end_row=level, end_column=last
                    )
        row = len(self.frame.levels) + 1
        for at, title in enumerate(self.frame.titles, 1):
            self._put(row, at, title).font = self.bold
        for col in range(len(self.table.cols)):
            for at, name in enumerate(self.names):
                self._put(row, n + 1 + size * col + at, name).alignment = self.centred
        for at in range(1, n + 1 + size * len(self.table.cols)):
            self.sheet.cell(row, at).border = self.line
        return row + 1

    def _numbers(self, row: int, place: Place) -> None:
        cell = self.table.cells.get(place)
        first = self.frame.n_labels + 1 + len(self.names) * place[1]
        for at, number in enumerate(numbers_of(self.table, place)):
            written = self.sheet.cell(row, first + at, number)
            if cell is None:
                continue
            is_n = at == len(self.names) - 1
            written.number_format = "0" if is_n else _format(cell, self.table)
            style = emphasis(cell, self.table)
            if style and not is_n:
                written.font = self.bold if style == "bold" else self.second

    def _put(self, row: int, column: int, value: Any) -> Any:
        text = sheet_text(encodable(value)) if isinstance(value, str) else value
        return self.sheet.cell(row, column, text)

    def _widths(self) -> None:
        from openpyxl.utils import get_column_letter

        first = len(self.frame.levels) + 1
        for at in range(1, self.frame.n_labels + 1):
            texts = [str(self.sheet.cell(first, at).value or "")]
            texts += [str(label) for row in self.table.rows for label in row.labels[at - 1 : at]]
            width = min(40, max(map(len, texts)) + 2)
            self.sheet.column_dimensions[get_column_letter(at)].width = width


def _format(cell: Cell, table: Table) -> str:
    """Return the format of a number, such as ``0.00`` or ``0.0%``."""
    if cell.kind == "average rank":
        return f"0.{'0' * RANK_DECIMALS}"
    metric = table.metric(cell.metric)
    decimals = "." + "0" * metric.decimals if metric.decimals else ""
    if metric.exponent:
        return f"0{decimals}E+00"
    return f"0{decimals}{'%' if is_percentage(cell, table) else ''}"


def _write_runs(sheet: Any, table: Table) -> None:
    """Write each value that a cell is made of, with its run."""
    keys = [*table.row_keys, *table.col_keys]
    heads = [*keys, "metric", ", ".join(table.over) or "over", "value", "run", "folder"]
    sheet.append([sheet_text(encodable(head)) for head in heads])
    for (row, col), cell in sorted(table.cells.items()):
        if cell.kind != "data":
            continue
        values = [
            *values_of(table.rows[row], len(table.row_keys)),
            *values_of(table.cols[col], len(table.col_keys)),
            cell.metric,
        ]
        seeds = cell.seeds or (None,) * len(cell.values)
        for seed, value, run, folder in zip(
            seeds, cell.values, cell.run_ids, cell.runs, strict=True
        ):
            line = [*values, seed, value, run, folder]
            sheet.append([_plain(one) for one in line])


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return sheet_text(encodable(value))
    return value if value is None or isinstance(value, (int, float)) else str(value)
