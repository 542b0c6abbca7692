"""What is said below a table of the runs behind it; hostile names; what it costs."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from handmade import event, put, write_run

from ztxexp import ResultAnalyzer
from ztxexp.tables.making import rebuilt


def write(root, n=3, **more):
    for number, (model, seed) in enumerate(itertools.product("ab", range(n))):
        score = {"a": 0.5, "b": 0.7}[model] + 0.01 * seed
        config = {"model": model, "seed": seed}
        write_run(root, f"r{number:03}", config=config, metrics={"score": score}, **more)
    return ResultAnalyzer(root)


def said(table):
    return " ".join(table.footer)


def test_seeds_n_spread_and_direction_are_named(tmp_path):
    analyzer = write(tmp_path)
    table = analyzer.table("model", [], "score")
    assert table.footer == [
        "Bold: best of each column; underlined: second best.",
        "score (max, inferred from the name): mean ± std over seed (0 1 2 in every cell), n = 3.",
    ]
    shows = {
        "sem": "mean ± standard error over seed",
        "ci95": "mean ± half of the 95 % confidence interval (Student's t) over seed",
        "median[iqr]": "median and quartiles over seed",
        "none": "score (min): mean over seed",
    }
    for show, words in shows.items():
        assert words in said(analyzer.table("model", [], "score", show=show, mode="min"))
    assert "mean ± std of the runs of a cell, n = 3" in said(
        analyzer.table("model", [], "score", over=[])
    )


def test_missing_and_further_seeds_are_marked_with_n(tmp_path):
    analyzer = write(tmp_path)
    for name in ("r005", "r000"):
        put(tmp_path / name / "run.json", {"schema_version": 2, "status": "failed", "run_id": name})
    table = analyzer.table("model", [], "score")
    assert "model=a lacks seed 0. model=b lacks seed 2." in said(table)
    assert "2 failed runs left out." in table.footer
    assert "0.5150 ± 0.0071 (n=2)" in str(table) and "n = 2." in said(table)
    assert any(hint.startswith("ztxexp complete") for hint in table.hints)
    assert any("list --status failed" in hint for hint in table.hints)


def test_other_statuses_are_counted(tmp_path):
    write(tmp_path)
    for number, status in enumerate(["failed", "skipped", "skipped"]):
        write_run(tmp_path, f"x{number}", status, config={"model": "a", "seed": 9})
    table = ResultAnalyzer(tmp_path).table("model", [], "score")
    assert "1 failed run left out. 2 skipped runs left out." in said(table)
    some = ResultAnalyzer(tmp_path).table("model", [], "score", statuses=["succeeded"])
    assert "left out" not in said(some)


def test_what_is_no_number_is_counted(tmp_path):
    write(tmp_path, n=4)
    for name, metrics in (
        ("r000", '{"score": "NaN"}'),
        ("r001", '{"score": "Infinity"}'),
        ("r004", {"score": "n/a"}),
        ("r005", {}),
    ):
        put(tmp_path / name / "metrics.json", metrics)
    table = ResultAnalyzer(tmp_path).table("model", [], "score")
    assert (
        "score: of 8 runs do not count 4 (1 NaN, 1 not a number, 1 missing, 1 infinite)."
        in table.footer
    )
    assert [cell.seeds for cell in table.cells.values()] == [(2, 3), (2, 3)]


def test_versions_of_the_code_and_what_is_stale_are_said(tmp_path):
    for number, (code, model, seed) in enumerate(
        [("old", "a", 0), ("old", "a", 1), ("new", "a", 2), ("new", "b", 0), (None, "b", 1)]
    ):
        folder = write_run(
            tmp_path,
            f"r{number}",
            config={"model": model, "seed": seed},
            metrics={"score": number},
            code_hash=code and f"code:{code}",
            started_at=f"2026-03-01T10:0{number}:00+00:00",
        )
        put(folder / "meta.json", {"function": "m:train"})
    table = ResultAnalyzer(tmp_path).table("model", [], "score")
    text = said(table)
    assert (
        "Several versions of the code: 2 runs by v1, 2 runs by v2, 1 run by an unknown one." in text
    )
    assert "2 runs are stale: newer runs are of a newer version of the code." in text
    assert "model=a mixes versions of the code: v1, v2." in text
    assert table.cells[0, 0].code_hash == ("code:new", "code:old")
    latest = ResultAnalyzer(tmp_path).table("model", [], "score", code="latest")
    assert "versions" not in said(latest)


def test_two_functions_are_not_stale_for_each_other(tmp_path):
    for number, model in enumerate("ab"):
        folder = write_run(
            tmp_path, f"r{number}", config={"model": model}, metrics={"score": number},
            code_hash=f"code:{model}", started_at=f"2026-03-01T10:0{number}:00+00:00",
        )  # fmt: skip
        put(folder / "meta.json", {"function": f"m:{model}"})
    text = said(ResultAnalyzer(tmp_path).table("model", [], "score"))
    assert "1 run by v1, 1 run by v2" in text and "stale" not in text


def test_repeated_runs_and_mixed_settings_are_said(tmp_path):
    write(tmp_path)
    write_run(tmp_path, "r9", config={"model": "a", "seed": 0}, metrics={"score": 5})
    text = said(ResultAnalyzer(tmp_path).table("model", [], "score"))
    assert "1 run left out, since a later one of the same configuration counts." in text
    write_run(tmp_path, "s9", config={"model": "a", "seed": 0, "lr": 1}, metrics={"score": 5})
    text = said(ResultAnalyzer(tmp_path).table("model", [], "score"))
    assert "Runs of one cell differ in lr: means are over mixed settings." in text


def test_values_of_curves_are_said_to_be_such(tmp_path):
    for seed in range(2):
        curve = [event(0, score=0.5 + seed), event(1, score=0.1 + seed)]
        write_run(tmp_path, f"r{seed}", config={"seed": seed}, metrics={}, curve=curve)
    analyzer = ResultAnalyzer(tmp_path)
    last = analyzer.table([], [], "score", at="last")
    assert last.cells[0, 0].value == 0.6 and "Values at the last step" in said(last)
    best = analyzer.table([], [], "score", at="best")
    assert best.cells[0, 0].value == 1.0 and "at the best step of each run" in said(best)
    assert "Values at step 1." in said(analyzer.table([], [], "score", at=1))
    assert rebuilt(best.source) == best


@pytest.mark.parametrize(
    ("n", "test"), [(4, None), (5, "--test paired-t"), (8, "--test permutation")]
)
def test_with_five_shared_seeds_a_test_is_offered(tmp_path, n, test):
    table = write(tmp_path, n).table("model", [], "score", show="sem")
    offers = [hint for hint in table.hints if "a test:" in hint]
    if test is None:
        assert not offers
    else:
        (offer,) = offers
        assert offer.startswith(f"{n} seeds are shared by all cells; a test: ztxexp table --rows")
        assert f"--cols none --metric score --show sem {test}" in offer


def test_hostile_names_break_no_terminal(tmp_path):
    evil = "\x1b[31m</script>|%_&$#\\^~{}\n=cmd()"
    for seed in range(2):
        write_run(tmp_path, f"r{seed}", config={evil: evil, "seed": seed}, metrics={evil: seed})
    table = ResultAnalyzer(tmp_path).table([evil], [], evil, labels={"k": evil})
    for line in str(table).split("\n"):
        assert line.isprintable()
    assert len(table.rows) == 1 and rebuilt(table.source) == table


def test_a_plain_table_imports_neither_pandas_nor_scipy(tmp_path):
    write(tmp_path)
    code = (
        "import sys; from ztxexp.analysis.choosing import chosen_runs;"
        "from ztxexp.tables.making import table_of;"
        f"print(table_of(chosen_runs({str(tmp_path)!r}), rows='model', metric='score'));"
        "assert not {'pandas', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_seeds_that_no_two_cells_share_are_said_to_be_such(tmp_path):
    for number in range(6):
        config = {"model": "ab"[number % 2], "seed": 100 + number}
        write_run(tmp_path, f"r{number}", config=config, metrics={"score": number})
    table = ResultAnalyzer(tmp_path).table("model", [], "score")
    assert "over seed (100 101 102 103 104 105; no two cells share one), n = 3." in said(table)
    assert "lacks" not in said(table) and not any("complete" in hint for hint in table.hints)
