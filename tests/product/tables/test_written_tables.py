"""Tables as files: every format has the numbers of the table, and nothing that runs say acts."""

from __future__ import annotations

import csv
import io
import math

import openpyxl
import pytest
from handmade import write_run

from ztxexp.analysis.run_table import RunTable
from ztxexp.tables.heading import Head, frame_of
from ztxexp.tables.making import table_of

SHOWS = ["std", "sem", "ci95", "none", "median[iqr]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two models, two rates, three seeds, of which one cell lacks one, and one lacks all."""
    root = tmp_path_factory.mktemp("results")
    number = 0
    for model, base in (("mlp", 0.9), ("svm", 0.05)):
        for lr in (0.001, 0.01):
            for seed in (0, 1, 2):
                if (model, lr) == ("svm", 0.01) or (model, lr, seed) == ("mlp", 0.01, 2):
                    continue
                number += 1
                score = base + lr + seed * 0.0123
                write_run(
                    root,
                    f"r{number:02}",
                    config={"model": model, "lr": lr, "seed": seed},
                    metrics={"accuracy": score, "loss": 3 - score},
                )
    return RunTable.read(root)


def expected(table):
    """What each cell holds, in the order of rows and columns."""
    for i in range(len(table.rows)):
        for j in range(len(table.cols)):
            cell = table.cells.get((i, j))
            if cell is None:
                yield i, j, None, (), 0
            else:
                spread = cell.spread if isinstance(cell.spread, tuple) else (cell.spread,)
                yield i, j, cell.value, spread if table.show != "none" else (), cell.n


@pytest.mark.parametrize("show", SHOWS)
@pytest.mark.parametrize("metric", ["accuracy", ["accuracy", "loss"]])
def test_csv_frame_and_sheet_hold_the_numbers_of_the_table(runs, tmp_path, show, metric):
    table = table_of(runs, rows="model", cols="lr", metric=metric, show=show, percent=["accuracy"])
    rows = list(csv.reader(io.StringIO(table.to_csv())))
    frame = table.to_frame()
    table.to_excel(tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx")["table"]
    size = {"none": 2, "median[iqr]": 4}.get(show, 3)
    top = len(frame_of(table).levels) + 2
    for i, j, value, spread, n in expected(table):
        numbers = [value, *(spread or [None] * (size - 2)), n]
        at = slice(1 + size * j, 1 + size * (j + 1))
        times = 100 if table.cols[j].metric == "accuracy" else 1
        in_csv = [float(cell) if cell else None for cell in rows[1 + i][at]]
        assert in_csv == [
            None if one is None else one * (1 if k == size - 1 else times)
            for k, one in enumerate(numbers)
        ]
        in_frame = frame.iloc[i, size * j : size * (j + 1)].tolist()
        assert [None if math.isnan(one) else one for one in in_frame] == numbers
        in_sheet = [sheet.cell(top + i, 2 + size * j + k).value for k in range(size)]
        assert [one is None for one in in_sheet] == [one is None for one in numbers]
        there = [one for one in numbers if one is not None]
        in_sheet = [one for one in in_sheet if one is not None]
        assert in_sheet == pytest.approx(there, rel=1e-14)  # openpyxl writes 16 digits
    assert list(frame.index) == ["mlp", "svm"]


def test_heads_stand_in_levels_and_say_what_they_are_of(runs):
    table = table_of(runs, rows="model", cols="lr", metric="accuracy", percent=True)
    frame = frame_of(table)
    assert frame.levels == [[Head("lr", 0, 2)], [Head("0.001", 0, 1), Head("0.01", 1, 1)]]
    assert (frame.corner, frame.titles) == ("accuracy (%) ↑", ("model",))
    table = table_of(runs, rows=[], cols=["model", "lr"], metric=["accuracy", "loss"])
    models, rates, metrics = frame_of(table).levels
    assert models[0] == Head("mlp", 0, 4) and rates[1] == Head("lr = 0.01", 2, 2)
    assert [head.text for head in metrics[:2]] == ["accuracy ↑", "loss ↓"]
