"""HTML for notebooks."""

from __future__ import annotations

from ztxexp.text.html import Html, block, element, escaped, lines, table

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror='alert(1)'>\"\x1b[31m\x00&"


def test_nothing_of_a_value_has_a_meaning():
    for made in (
        escaped(HOSTILE),
        element("b", HOSTILE),
        block(HOSTILE),
        lines(f"{HOSTILE}\nsecond"),
        table([HOSTILE], [[HOSTILE]]),
    ):
        assert "<script" not in made and "<img" not in made and "\x1b" not in made
        assert "\x00" not in made and "&lt;script&gt;" in made


def test_what_is_html_stays_as_it_is():
    assert escaped(Html("<b>x</b>")) == "<b>x</b>"
    assert element("i", Html("<b>x</b>"), "<") == "<i><b>x</b>&lt;</i>"


def test_a_table_says_how_many_rows_are_left_out_and_puts_numbers_at_the_right():
    made = table(["name", "value"], [["a", 1.5], ["b", None], ["c", 3]], most=2, noun="run")
    assert "and 1 more run" in made and ">1.5<" in made and ">c<" not in made
    assert made.count("text-align:right") == 3  # the head and two cells of one column
    assert "more" not in table(["a"], [[1]])
    assert "and 9 more rows" in table(["a"], [[1]], total=10)


def test_nothing_refers_to_elsewhere_or_could_clash_with_the_page():
    made = block("text", table(["a"], [[1]]), lines("x"))
    for word in ("<style", "<script", " id=", " class=", "http", "url("):
        assert word not in made


def test_a_table_without_names_and_without_rows():
    assert "<th" not in table([], [["a", 1]])
    assert table(["a"], []).count("<tr") == 1
