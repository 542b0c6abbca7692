"""Lines on a terminal."""

from __future__ import annotations

import math

from ztxexp.text.braille import COLOURS, Line, drawn


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right():
    text = drawn([Line("a", [(0, 0.0), (10, 1.0)])], width=40, height=5, title="score")
    title, *rows, axis, ends, legend = text.split("\n")
    assert title == "score" and len(rows) == 5
    assert rows[0].startswith("  1 ┤") and rows[0].endswith("1")  # the digit names the line
    assert rows[-1].startswith("  0 ┤") and "⡠" in rows[-1].replace("⣀", "⡠")
    assert axis.strip().startswith("└─") and ends.split() == ["0", "step", "10"]
    assert legend.strip() == "1: a"
    assert all(len(line) <= 40 for line in text.split("\n"))


def test_colours_take_the_place_of_digits():
    lines = [Line("a", [(0, 0.0), (1, 1.0)]), Line("b", [(0, 1.0), (1, 0.0)])]
    text = drawn(lines, colours=True)
    assert f"\x1b[{COLOURS[1]}m── \x1b[0m".replace("── ", "──") in text and "1:" not in text
    assert text.count("\x1b[") % 2 == 0 or "\x1b[0m" in text


def test_logarithms_and_what_cannot_be_drawn():
    points = [(1, 0.001), (10, 0.1), (100, -1.0), (1000, math.nan), (0, 5.0), (100, 10.0)]
    text = drawn([Line("a", sorted(points))], logx=True, logy=True, title="loss")
    assert text.startswith("loss (log)") and "step (log)" in text
    assert text.splitlines()[-2].split() == ["1", "step", "(log)", "100"]
    assert drawn([Line("a", [(1, math.nan)])]) == "" and drawn([]) == ""
    assert "0.5" in drawn([Line("flat", [(0, 0.5), (1, 0.5)])])
    assert drawn([Line("one", [(3, 0.5)])])


def test_hostile_names_are_spelt_out_and_cut():
    text = drawn([Line("\x1b[2J" + "x" * 200, [(0, 0), (1, 1)])], width=50, title="\x07")
    assert "\x1b" not in text and "\x07" not in text
    assert max(map(len, text.splitlines())) <= 52
