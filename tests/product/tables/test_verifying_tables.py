"""Written tables are checked against the runs: what changed, what was edited, what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from handmade import put, write_run

from ztxexp.analysis.run_table import RunTable
from ztxexp.tables import differences, footer
from ztxexp.tables.macros import macros, macros_text
from ztxexp.tables.making import table_of
from ztxexp.tables.remaking import Maker
from ztxexp.tables.verify import _plain, check, verify

FORMS = ["t.tex", "s.tex", "t.md", "t.html", "numbers.tex"]
TABLES = FORMS[:-1]


def run(root, hidden, lr, seed, score, code="a" * 40, **metrics):
    """Write one run."""
    name = f"run_{hidden}_{lr}_{seed}"
    write_run(
        root,
        name,
        config={"hidden": hidden, "lr": lr, "seed": seed},
        metrics={"accuracy": score, **metrics},
        code_hash=code,
        started_at=f"2026-03-01T10:00:0{seed}+00:00",
    )
    return Path(root) / name


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "results"
    for hidden, lr, base in (
        (16, 0.001, 0.90),
        (16, 0.01, 0.962),
        (64, 0.001, 0.952),
        (64, 0.01, 0.97),
    ):
        for seed in (0, 1, 2):
            run(root, hidden, lr, seed, base + 0.004 * (seed - 1))
    return root


def written(root, form, **options):
    """Write a table beside the root, in a folder of its own, and return the file."""
    table = table_of(
        RunTable.read(root), rows="hidden", cols="lr", metric="accuracy", percent=True, **options
    )
    path = root.parent / "paper" / form
    path.parent.mkdir(exist_ok=True)
    if form == "t.md":
        table.to_markdown(path)
    elif form == "t.html":
        table.to_html(path)
    elif form == "s.tex":
        table.to_latex(path, siunitx=True, caption="Digits", ref="tab:digits", notes=True)
    elif form == "numbers.tex":
        path.write_text(macros_text(table, path=path), encoding="utf-8")
    else:
        table.to_latex(path)
    return path


def said(path, root=None):
    """What is wrong with a file; the path is left out."""
    return [str(one).partition(": ")[2] for one in verify([path], root)]


@pytest.mark.parametrize("form", FORMS)
def test_what_was_just_written_holds(root, form, monkeypatch, tmp_path):
    path = written(root, form)
    assert verify([path]) == []
    checked = check(path, Maker())
    assert (checked.cells, checked.macros) == ((0, 31) if form == "numbers.tex" else (4, 0))
    monkeypatch.chdir(tmp_path.parent)  # the root is found from the file
    assert verify([path]) == [] and verify([path], root) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_metric_is_named_with_its_run_and_seed(root, form):
    path = written(root, form)
    put(root / "run_64_0.01_1" / "metrics.json", {"accuracy": 0.9})
    (problem,) = [one for one in said(path) if one.startswith("cell hidden=64 lr=0.01 ")]
    assert problem.startswith("cell hidden=64 lr=0.01 says 97.00 ± 0.40; the runs now give 94.67 ±")
    assert "(seed 1) now gives 0.9, not 0.97" in problem


@pytest.mark.parametrize("form", FORMS)
def test_a_deleted_run_is_named(root, form):
    path = written(root, form)
    shutil.rmtree(root / "run_16_0.001_2")
    problems = [one for one in said(path) if one.startswith("cell hidden=16 lr=0.001")]
    assert len(problems) == 1 and "(seed 2) is gone" in problems[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("score", [0.969, 0.97])
def test_an_added_seed_is_named_even_where_the_number_stays(root, form, score):
    path = written(root, form)
    run(root, 64, 0.01, 3, score)
    (problem,) = [one for one in said(path) if one.startswith("cell")]  # the others hold
    assert problem.startswith("cell hidden=64 lr=0.01 says 97.00 ± 0.40")
    assert "seed 3 is new" in problem


@pytest.mark.parametrize("form", FORMS)
def test_another_version_of_the_code_is_named(root, form):
    path = written(root, form)
    shutil.rmtree(root / "run_64_0.01_0")
    record = run(root, 64, 0.01, 0, 0.966, code="b" * 40) / "run.json"
    (problem,) = [one for one in said(path) if one.startswith("cell hidden=64 lr=0.01")]
    assert "its code is aaaaaaaa and bbbbbbbb, not aaaaaaaa" in problem
    assert record.is_file()


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_cell_and_one_that_is_there_now_are_named(root, form):
    shutil.rmtree(root / "run_16_0.01_0")
    for seed in (1, 2):
        shutil.move(root / f"run_16_0.01_{seed}", root.parent / f"moved{seed}")
    path = written(root, form)
    for seed in (1, 2):
        shutil.move(root.parent / f"moved{seed}", root / f"run_16_0.01_{seed}")
    if form != "numbers.tex":
        (problem,) = [one for one in said(path) if "lr=0.01 says" in one and "hidden=16" in one]
        assert problem.startswith("cell hidden=16 lr=0.01 says --; the runs now give 96.40 ± 0.28")


@pytest.mark.parametrize("form", TABLES)
def test_an_edited_digit_in_the_table_is_named(root, form):
    path = written(root, form)
    before, end = path.read_text().rsplit("95.20", 1)
    path.write_text(f"{before}95.30{end}")
    (problem,) = said(path)
    assert problem.startswith("cell hidden=64 lr=0.001 was edited by hand: it reads 95.30")


@pytest.mark.parametrize("form", FORMS)
def test_an_edited_digit_in_a_comment_is_named(root, form):
    path = written(root, form)
    text = path.read_text()
    assert text.count('"says": "95.20') == 1
    path.write_text(text.replace('"says": "95.20', '"says": "95.30'))
    assert any("cell hidden=64 lr=0.001 has an edited comment" in one for one in said(path))


@pytest.mark.parametrize("form", TABLES)
def test_a_moved_mark_and_an_edited_label_are_named(root, form):
    path = written(root, form)
    text = path.read_text()
    bold = {"t.md": ("**97.00 ± 0.40**", "97.00 ± 0.40"), "t.html": ("<b>", "")}
    old, new = bold.get(form, (r"\bfseries\boldmath ", ""))
    path.write_text(text.replace(old, new))
    assert any("was edited by hand" in one for one in said(path))
    label = {"t.md": ("| 64 |", "| 65 |"), "t.html": (">64<", ">65<")}
    path.write_text(text.replace(*label.get(form, ("64 & ", "65 & "))))
    (problem,) = said(path)
    assert problem.startswith("has an edited label: 65")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", ["first", "cell", "last"])
def test_a_removed_line_of_comments_is_noticed(root, form, which):
    path = written(root, form)
    lines = path.read_text().splitlines()
    word = {"first": " v1 {", "cell": "ztxexp cell", "last": "ztxexp end"}[which]
    at = next(at for at, line in enumerate(lines) if word in line and "ztxexp" in line)
    path.write_text("\n".join(lines[:at] + lines[at + 1 :]))
    problems = " ".join(said(path))
    expected = {"first": "first line is missing", "cell": "3 of its 4 lines", "last": "last line"}
    assert expected[which] in problems


@pytest.mark.parametrize("form", FORMS)
def test_layout_may_change(root, form):
    path = written(root, form)
    text = path.read_text()
    text = text.replace(" & ", "   &\n  ").replace(r"\midrule", r"\midrule[1pt] \addlinespace")
    path.write_text("Before.\n\n" + text.replace("\n| ", "\n|   ") + "\nAfter.\r\n")
    assert said(path) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_another_root_is_told_as_such(root, form, tmp_path):
    path = written(root, form)
    other = tmp_path / "other"
    write_run(other, "x", config={"hidden": 16, "lr": 0.001, "seed": 0}, metrics={"accuracy": 0.9})
    (problem,) = said(path, other)
    assert problem.startswith("none of its 12 runs is below") and "-C DIR" in problem
    moved = root.rename(tmp_path / "moved")
    (problem,) = said(path)
    assert "results root ../results is not there; -C DIR says where" in problem
    assert said(path, moved) == []


def test_a_file_without_a_record_does_not_hold(root):
    path = root.parent / "plain.tex"
    path.write_text(r"\begin{tabular}{l} a \\ \end{tabular} ztxexp table --rows lr")
    (problem,) = said(path)
    assert problem.startswith("has no table that can be checked")


def test_several_tables_in_a_paper_are_each_checked(root):
    one, other = written(root, "t.tex").read_text(), written(root, "s.tex").read_text()
    numbers = written(root, "numbers.tex").read_text()
    paper = root.parent / "paper" / "paper.tex"
    paper.write_text(f"\\section{{A}}\n{numbers}\n{one}\nText.\n{other}\n\\end{{document}}\n")
    assert verify([paper]) == [] and check(paper, Maker()).cells == 8
    put(root / "run_64_0.01_1" / "metrics.json", {"accuracy": 0.9})
    lines = {str(one).split(": ")[0].rpartition(":")[2] for one in verify([paper])}
    heads = [n for n, text in enumerate(paper.read_text().splitlines(), 1) if " v1 {" in text]
    assert lines == set(map(str, heads))


def test_a_changed_direction_is_told(root, monkeypatch):
    path = written(root, "t.tex")
    (root.parent / "pyproject.toml").write_text('[tool.ztxexp.metrics]\naccuracy = "min"\n')
    monkeypatch.chdir(root.parent)
    problems = said(path)
    assert "takes max for the best of accuracy; now it is min" in problems
    assert any("it is no longer the best" in one for one in problems)


def test_edited_macros_and_those_that_no_longer_hold_are_named(root):
    path = written(root, "numbers.tex")
    text = path.read_text()
    assert r"\ztxdef{best.accuracy}{97.00}" in text
    path.write_text(
        text.replace(r"\ztxdef{best.accuracy}{97.00}", r"\ztxdef{best.accuracy}{98.00}")
    )
    assert said(path) == [
        "has macros that were edited by hand",
        r"\ztx{best.accuracy} says 98.00; the runs now give 97.00",
    ]
    path.write_text(text)
    run(root, 64, 0.01, 3, 0.93)
    problems = said(path)
    assert r"\ztx{best.accuracy} says 97.00; the runs now give 96.20" in problems
    assert r"\ztx{runs} says 12; the runs now give 13" in problems


def test_macros_are_named_by_keys_and_values(root):
    table = table_of(RunTable.read(root), rows="hidden", cols="lr", metric="accuracy", percent=True)
    values = macros(table)
    assert values["best.accuracy"] == "97.00" and values["best.accuracy.hidden"] == "64"
    assert values["second.accuracy"] == "96.20" and values["runs"] == "12"
    assert values["hidden=16,lr=0.001:pm"] == r"\ensuremath{90.00 \pm 0.40}"
    assert values["hidden=16,lr=0.001:n"] == "3" and values["seeds"] == "3"
    assert "digits.best.accuracy" in macros(table, "digits")


def test_records_are_json_that_programs_can_read(root):
    lines = written(root, "t.tex").read_text().splitlines()
    cells = [json.loads(line.partition("cell ")[2]) for line in lines if "ztxexp cell" in line]
    assert cells[3]["at"] == {"hidden": 64, "lr": 0.01} and cells[3]["seeds"] == [0, 1, 2]
    assert cells[3]["folders"] == [f"run_64_0.01_{seed}" for seed in (0, 1, 2)]
    assert cells[3]["values"] == pytest.approx([0.966, 0.97, 0.974])


@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_another_version_holds_where_its_numbers_do(root, form, monkeypatch):
    """Sentences and signs may be others in the next version; numbers may not."""
    import ztxexp

    path = written(root, form)
    monkeypatch.setattr(ztxexp, "__version__", "9.9")
    monkeypatch.setattr(footer, "_WHAT", {**footer._WHAT, "std": "mean and deviation"})
    monkeypatch.setattr(differences, "reading", lambda text: f"{text.value} +- {text.spread}")
    assert not [one for one in verify([path]) if one.fatal]
    put(root / "run_64_0.01_1" / "metrics.json", {"accuracy": 0.9})
    assert any("cell hidden=64 lr=0.01 says 97.00" in str(one) for one in verify([path]))


# ---- what stands below and beside --------------------------------------------------------------


LABELS = {"hidden=64": r"Smith \cite{smith}", "hidden": "units", "accuracy": "Acc."}


def test_labels_reach_notes_and_macros_and_may_hold_commands(root):
    shutil.rmtree(root / "run_64_0.01_2")
    path = written(root, "t.tex", labels=LABELS)
    text = path.read_text()
    assert "\nSmith \\cite{smith} &" in text and said(path) == []
    table = table_of(
        RunTable.read(root), rows="hidden", cols="lr", metric="accuracy", labels=LABELS
    )
    assert r"units=Smith \cite{smith} lr=0.01 lacks seed 2." in table.footer
    assert macros(table)["best.accuracy.hidden"] == r"Smith \cite{smith}"
    assert r"Smith \cite{smith}" in str(table)
    noted = written(root, "s.tex", labels=LABELS)
    assert r"units=Smith \cite{smith} lr=0.01 lacks" in noted.read_text() and said(noted) == []
    run(root, 64, 0.01, 2, 0.9)
    assert any(line.startswith("cell hidden=64 lr=0.01 says") for line in said(path))


@pytest.mark.parametrize("text", [r"50% \cite{a}", r"a \cite{b", r"a & \cite{b}", r"a \\ \cite{b}"])
def test_labels_that_would_break_the_table_are_printed_as_they_are(root, text):
    written_text = written(root, "t.tex", labels={"hidden=64": text}).read_text()
    assert r"\textbackslash{}cite" in written_text


def test_short_notes_say_marks_spread_n_and_test(root):
    table = table_of(
        RunTable.read(root), rows="hidden", cols="lr", metric="accuracy", test="paired-t"
    )
    path = root.parent / "short.tex"
    table.to_latex(path, caption="Digits.", notes="short")
    (line,) = [one for one in path.read_text().split("\n") if one.startswith(r"\caption")]
    assert "Bold: best of each column" in line and "n = 3" in line and "Paired t-test" in line
    assert len(line) < len(" ".join(table.footer)) and said(path) == []
    path.write_text(path.read_text().replace("n = 3.", "n = 30."))
    assert any("edited sentence" in one for one in said(path))
    (command,) = check(path, Maker()).commands
    assert "--notes short" in command


def test_a_mark_that_was_moved_by_hand_is_told_as_such(root):
    path = written(root, "t.md")
    text = path.read_text()
    bold = next(part for part in text.split("**")[1::2])
    path.write_text(text.replace(f"**{bold}**", bold))
    assert any("by hand: it is no longer printed bold" in line for line in said(path))


def test_a_dagger_leaves_no_stray_sign():
    assert _plain(r"$96.9{\scriptstyle\,\pm 0.7}$$^\dagger$") == "96.9 ± 0.7†"
    assert _plain(r"$96.9{\scriptstyle\,\pm 0.7}$$^{\S}$") == "96.9 ± 0.7§"


def test_paths_are_as_seen_from_where_the_command_is_typed(root, monkeypatch):
    (root.parent / "lit.csv").write_text("name,lr,accuracy\nSmith,0.01,0.9\n")
    monkeypatch.chdir(root.parent)
    path = written(root, "t.tex", reported="lit.csv")
    run(root, 64, 0.01, 3, 0.5)
    (command,) = check(path, Maker()).commands
    assert "--reported lit.csv" in command and "-o paper/t.tex" in command
