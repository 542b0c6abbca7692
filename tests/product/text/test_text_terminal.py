"""A bar for what keeps a person waiting."""

from __future__ import annotations

import pytest
from terminals import on_terminal

from ztxexp.text import terminal


def test_nothing_is_shown_where_there_is_no_terminal(capfd, monkeypatch):
    monkeypatch.setattr(terminal, "_DELAY_SEC", 0.0)
    with terminal.bar("reading runs") as on_progress:
        on_progress(1, 2)
    assert capfd.readouterr() == ("", "")


SLOW = """
import time
from ztxexp.text import terminal
terminal._DELAY_SEC = {patience}
with terminal.bar("reading runs") as on_progress:
    for done in range(4):
        on_progress(done, 4)
        time.sleep(0.15)
"""


@pytest.mark.first_is_quick
@pytest.mark.parametrize(
    "patience, variable, shown", [(0.0, "", True), (60.0, "", False), (0.0, "0", False)]
)
def test_a_terminal_shows_it_after_a_while(tmp_path, patience, variable, shown):
    seen = on_terminal(tmp_path, SLOW.format(patience=patience), ZTXEXP_PROGRESS=variable)
    assert (b"reading runs" in seen.raw) is shown
    assert not any(seen.lines) and not seen.hidden


def test_items_are_handed_on_and_the_bar_closes_with_them(tmp_path):
    code = "\nfrom ztxexp.text.terminal import watched\n"
    code += SLOW.split("with")[0].format(patience=0.0)
    code += "assert [x for x in watched('checking runs', 'abc') if not time.sleep(0.1)] == [*'abc']"
    seen = on_terminal(tmp_path, code)
    assert b"checking runs" in seen.raw
    assert not any(seen.lines) and not seen.hidden
