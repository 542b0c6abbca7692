"""What all figures have in common: files, captions, styles, colours, no trace in matplotlib."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import matplotlib
import pytest
from figure_roots import HOSTILE, with_curves
from matplotlib.figure import Figure

from ztxexp import ConfigError, ResultAnalyzer, ZtxexpError
from ztxexp.figures.colours import Palette
from ztxexp.figures.style import COLOURS, style_of


@pytest.fixture
def root(tmp_path):
    return with_curves(tmp_path / "results")


@pytest.mark.first_is_quick
@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_a_file_and_its_caption_are_the_same_bytes_each_time(root, tmp_path, ending):
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for path in files:
        plot = ResultAnalyzer(root).curves("accuracy")
        assert plot.save(path) == path
    assert files[0].read_bytes() == files[1].read_bytes()
    text = (tmp_path / "a.caption.txt").read_text()
    assert " ".join(text.split()) == plot.caption
    assert (
        not (plot.save(tmp_path / f"c.{ending}", caption=False))
        .with_suffix(".caption.txt")
        .exists()
    )


def test_a_pdf_holds_its_fonts(root, tmp_path):
    data = ResultAnalyzer(root).curves("accuracy").save(tmp_path / "fig.pdf").read_bytes()
    assert b"/FontFile2" in data and b"/Type3" not in data


def test_a_file_that_cannot_be_written_is_said(root, tmp_path):
    plot = ResultAnalyzer(root).curves("accuracy")
    with pytest.raises(ConfigError, match=r"the ending says no format of figures; known: \.pdf"):
        plot.save(tmp_path / "fig.doc")
    with pytest.raises(ZtxexpError, match="cannot be written"):
        plot.save(tmp_path / "nowhere" / "fig.pdf")


@pytest.mark.first_is_quick
@pytest.mark.parametrize(
    ("style", "width", "inches"),
    [
        (None, None, 5.5), (None, "column", 3.25), (None, "full", 6.75), (None, 4, 4.0),
        ("neurips", None, 5.5), ("icml", None, 3.25), ("icml", "full", 6.75), ("cvpr", "2.5", 2.5),
        ("icml2024", "full", 6.75), ("neurips2024", None, 5.5), ({"font.size": 12}, None, 5.5),
    ],
)  # fmt: skip
def test_widths_are_those_of_venues(root, tmp_path, style, width, inches):
    plot = ResultAnalyzer(root).curves("accuracy", style=style, width=width)
    assert plot.fig.get_figwidth() == pytest.approx(inches, abs=0.01)
    plot.save(tmp_path / "fig.png")


def test_saving_in_another_style_draws_anew(root, tmp_path):
    plot = ResultAnalyzer(root).curves("accuracy")
    plain, other = (plot.save(tmp_path / f"{n}.png", style=s).stat() for n, s in
                    (("a", None), ("b", "icml")))  # fmt: skip
    assert plain.st_size != other.st_size
    assert plot.fig.get_figwidth() == 5.5  # the figure itself stays


@pytest.mark.first_is_quick
@pytest.mark.parametrize(
    "style", [None, "neurips", "icml", "neurips2024", "icml2024", "aistats2023"]
)
def test_no_font_is_looked_for_in_vain(root, tmp_path, style, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        ResultAnalyzer(root).curves("accuracy", style=style).save(tmp_path / "fig.pdf")
    assert "findfont" not in caplog.text.replace("findfont: Matching", "").replace(
        "findfont: score", ""
    )
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("style", "width", "said"),
    [
        ("neurip", None, "did you mean 'neurips'"),
        (None, "colum", "width is one of column, text, full"),
        (None, -1, "width is one of"),
        ({"font.sise": 3}, None, r"no rcParam 'font.sise' \(did you mean 'font.size'"),
    ],
)
def test_a_style_that_is_none_is_refused(root, style, width, said):
    with pytest.raises(ConfigError, match=said):
        ResultAnalyzer(root).curves("accuracy", style=style, width=width)


@pytest.mark.slow
def test_rcparams_are_not_touched_and_do_not_matter(root, tmp_path):
    plot = ResultAnalyzer(root).curves("accuracy").save(tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        other = ResultAnalyzer(root).curves("accuracy", style="icml2024")
        other._repr_png_()
        again = ResultAnalyzer(root).curves("accuracy").save(tmp_path / "b.png")
        assert dict(matplotlib.rcParams) == before
        own = ResultAnalyzer(root).curves("accuracy", style="rcparams")
        assert own.ax.get_facecolor()[:3] == (1, 0, 0)
    assert plot.read_bytes() == again.read_bytes()


@pytest.mark.slow
def test_pyplot_is_not_imported_and_nothing_without_need(root):
    code = (
        "import sys; from ztxexp import ResultAnalyzer; a = ResultAnalyzer(sys.argv[1]);"
        "early = 'matplotlib' in sys.modules; p = a.curves('accuracy'); p._repr_html_();"
        "print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(root)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.strip() == "False False" and not out.stderr


def test_without_matplotlib_the_line_to_type_is_named(root, monkeypatch):
    import ztxexp.figures.library as library

    monkeypatch.setattr(library, "find_spec", lambda name: None)
    with pytest.raises(ZtxexpError, match=r'figures need matplotlib; install it: pip install "ztx'):
        ResultAnalyzer(root).curves("accuracy")


def test_it_draws_into_axes_of_others(root, tmp_path):
    fig = Figure()
    one, two = fig.subplots(1, 2)
    plot = ResultAnalyzer(root).curves("accuracy", ax=one)
    assert plot.ax is one and plot.fig is fig and one.get_lines() and not two.get_lines()
    plot.save(tmp_path / "fig.png")
    with pytest.raises(ConfigError, match="the axes were given"):
        plot.save(tmp_path / "fig.png", style="icml")
    with pytest.raises(ConfigError, match="the axes are yours"):
        ResultAnalyzer(root).curves("accuracy", ax=two, width=3)
    with pytest.raises(ConfigError, match="ax is the axes"):
        ResultAnalyzer(root).curves("accuracy", ax=3)


def test_a_value_keeps_its_colour(root):
    analyzer = ResultAnalyzer(root)

    def colour(plot, at):
        return plot.ax.get_lines()[at].get_color()

    both = analyzer.curves("accuracy", by="lr")
    assert [colour(both, 0), colour(both, 1)] == [COLOURS[0], COLOURS[1]]
    alone = analyzer.curves("accuracy", by="lr", where="lr == 0.1")
    assert colour(alone, 0) == COLOURS[1]
    first = ResultAnalyzer(root).curves("loss", by="lr", where="lr == 0.1")
    assert colour(first, 0) == COLOURS[1]  # and in a new analyzer of the same root


def test_colours_differ_within_a_figure():
    palette = Palette()
    every = list(range(30))
    assert palette.slots_of(["lr"], [3, 5], every) == [0, 1]
    assert palette.slots_of(["lr"], [5, 7], every) == [1, 2]
    shown = [7, *range(10, 17)]
    assert len(set(palette.slots_of(["lr"], shown, every))) == 8
    assert palette.slots_of(["lr"], [5, 7], every) == [1, 2]
    assert palette.slots_of(["x"], [1.0, True], [1, True]) == [0, 1]


def test_colours_and_dashes_differ():
    from ztxexp.figures.style import DASHES, MARKERS

    assert len({*COLOURS}) == len({*map(str, DASHES)}) == len({*MARKERS}) == 8


def test_in_a_notebook_it_is_a_picture_with_its_caption(tmp_path):
    with_curves(tmp_path / "c", model="<b>")
    page = ResultAnalyzer(tmp_path / "c").curves("accuracy", by=["model", "lr"])._repr_html_()
    assert "data:image/png;base64," in page and "model=&lt;b&gt;" not in page.replace("alt", "")
    assert "<b>" not in page
    assert repr(ResultAnalyzer(tmp_path / "c").curves("accuracy")).startswith("<Plot of 20 rows: a")


@pytest.mark.slow
def test_hostile_texts_are_shown_as_they_are(tmp_path):
    from handmade import event, write_run

    for number, text in enumerate(HOSTILE):
        rows = [event(step, **{"acc_$\\frac$": 0.1 * number}) for step in range(3)]
        write_run(tmp_path, f"r{number}", config={"_$model$": text}, curve=rows, metrics={})
    plot = ResultAnalyzer(tmp_path).curves("acc_$\\frac$", mode="max")
    plot.save(tmp_path / "fig.pdf")
    plot.save(tmp_path / "fig.svg")
    texts = [text.get_text() for text in plot.ax.get_legend().get_texts()]
    assert len(texts) == 8 and "\\$x^2\\$ & _a%" in texts and "_hidden" in texts
    assert "\x1b" not in "".join(texts) and "\x1b" not in plot.caption
    assert plot.ax.get_ylabel() == "acc_\\$\\frac\\$"


def test_a_style_counts_within_its_block_only():
    style = style_of("neurips", "column")
    assert style.size == 9 and style.rc["pdf.fonttype"] == 42 and style.rc["text.usetex"] is False
    fonts = style.rc["font.family"]
    assert fonts.index("STIXGeneral") + 1 == fonts.index("DejaVu Sans") and fonts[0] != "serif"
    before = matplotlib.rcParams["pdf.fonttype"]
    with style.used():
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert matplotlib.rcParams["pdf.fonttype"] == before
