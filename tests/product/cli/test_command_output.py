"""What commands print: data and talk apart, formats, hostile text, narrow terminals."""

from __future__ import annotations

import csv
import io
import json
import math

import click
import pytest
from click.testing import CliRunner

from ztxexp import OptionError
from ztxexp.cli.output import Column, Output, output_of, output_options, say, write_table
from ztxexp.text.drawing import Drawn, cut_to, draw, sparkline, width_of

EVIL = "a\x1b[31mred\x1b]0;title\x07\tb\nc\x9b5n\u202ed"
COLUMNS = [Column("run", "RUN", kept=True), "lr", "note", "same", "score"]
ROWS = [["3f2a", 0.1, EVIL, 1, 0.123456789], ["91bc", 0.01, None, 1, math.nan]]


def show(fmt, columns=COLUMNS, rows=ROWS, **options):
    """Return what is printed, on standard output and standard error."""

    @click.command()
    def command():
        write_table(columns, rows, Output(fmt), **options)

    result = CliRunner(catch_exceptions=False).invoke(command)
    assert result.exit_code == 0
    return result.stdout, result.stderr


@pytest.mark.parametrize("fmt", ["table", "tsv", "csv", "json", "jsonl", "md"])
def test_no_format_lets_through_what_a_terminal_would_obey(fmt):
    out, _ = show(fmt)
    assert not any(c in out for c in "\x1b\x07\x9b\u202e") or fmt == "csv"
    lines = out.splitlines()
    if fmt in ("table", "tsv", "md"):
        assert len(lines) == (4 if fmt == "md" else 3)


def test_csv_reads_back_as_it_was():
    out, _ = show("csv")
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert rows[0] == ["run", "lr", "note", "same", "score"]
    assert rows[1] == ["3f2a", "0.1", EVIL, "1", "0.123456789"]
    assert rows[2] == ["91bc", "0.01", "", "1", "nan"]
    out, _ = show("csv", ["a"], [["=1+1"], ["-2"]])
    assert out == "a\n'=1+1\n-2\n"


def test_json_is_strict_and_reads_back_as_it_was():
    out, _ = show("json")
    first, second = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert first == {"run": "3f2a", "lr": 0.1, "note": EVIL, "same": 1, "score": 0.123456789}
    assert second["note"] is None and second["score"] == "NaN"
    lines, _ = show("jsonl")
    assert [json.loads(line)["run"] for line in lines.splitlines()] == ["3f2a", "91bc"]
    assert show("json", rows=[]) == ("[]\n", "") and show("jsonl", rows=[]) == ("", "")


def test_constant_columns_are_hidden_for_people_only():
    assert "same" not in show("tsv")[0] and "same" not in show("md")[0]
    assert "same" in show("tsv", all_columns=True)[0] and "same" in show("csv")[0]
    assert "same" in show("tsv", rows=ROWS[:1])[0], "one row: nothing is constant"


def test_where_no_terminal_is_nothing_is_cut():
    out, _ = show("tsv", ["a"], [["x" * 30_000], ["y"]])
    assert "x" * 30_000 in out
    assert show("table", ["a"], [["x" * 300], ["y"]])[0].splitlines()[1] == "x" * 300


def test_a_table_fits_a_narrow_terminal():
    columns = [Drawn("RUN", whole=True), Drawn("note"), Drawn("lr", False), Drawn("more")]
    rows = [["3f2a", "n" * 60, "0.001", "m" * 60]]
    text, dropped = draw(columns, rows, width=40)
    assert dropped == 0 and max(map(width_of, text.splitlines())) <= 40 and "0.001" in text
    text, dropped = draw(columns, rows, width=20)
    assert dropped == 2 and max(map(width_of, text.splitlines())) <= 20 and "3f2a" in text


def test_wide_characters_take_two_columns():
    assert width_of("学習") == 4 and cut_to("学習率です", 5) == "学習…"
    text, _ = draw([Drawn("a"), Drawn("b")], [["学習", "x"], ["abcd", "y"]])
    assert text.splitlines()[1:] == ["学習  x", "abcd  y"]


def test_sparklines():
    assert sparkline([]) == sparkline([math.nan]) == ""
    assert sparkline([1, 2, 3]) == "▁▅█" and len(sparkline(range(1000))) == 12


@pytest.mark.parametrize(
    ("fmt", "path", "expected"),
    [
        (None, "a.csv", "csv"),
        (None, "a.JSON", "json"),
        (None, "a.md", "md"),
        ("json", "a.csv", "json"),
        (None, None, "tsv"),
        (None, "-", "tsv"),
    ],
)
def test_the_format_is_that_of_the_ending(fmt, path, expected):
    assert output_of(fmt, path).format == expected


def test_an_ending_that_says_no_format_is_refused():
    with pytest.raises(OptionError, match=r"a\.dat: the ending says no format"):
        output_of(None, "a.dat")


def test_the_options_give_one_output(tmp_path):
    @click.command()
    @output_options
    def command(output):
        write_table(["a"], [[1], [2]], output, notes=["two rows"])

    def run(*words):
        result = CliRunner(catch_exceptions=False).invoke(command, words)
        return result.exit_code, result.stdout, result.stderr

    assert run() == (0, "a\n1\n2\n", "two rows\n")
    assert run("--json")[1] == '[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }\n]\n'
    path = tmp_path / "rows.csv"
    assert run("-o", str(path)) == (0, "", f"wrote 2 rows to {path}\n")
    assert path.read_text() == "a\n1\n2\n"
    with pytest.raises(OptionError, match="contradict"):
        run("--json", "--format", "csv")


def test_talk_goes_to_standard_error_and_is_safe():
    @click.command()
    def command():
        say(f"one {EVIL}")

    result = CliRunner().invoke(command)
    assert result.stdout == "" and "\x1b" not in result.stderr and "one ared" in result.stderr
