"""What ``ztxexp table`` does with files for papers: LaTeX, numbers for the text, ``--verify``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ztxexp.cli.output import Output, say, write_text
from ztxexp.cli.repeated import Once
from ztxexp.cli.shared import checked_root
from ztxexp.project import results_root
from ztxexp.text.format import encodable, plural, sanitize_for_terminal, short_path
from ztxexp.text.wording import captioned
from ztxexp_core.errors import OptionError, ZtxexpError

if TYPE_CHECKING:
    from ztxexp.tables.model import Table

TEX = "tex"
_WITH_RECORD = (".tex", ".md", ".markdown", ".html", ".htm")
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class ForPapers:
    """What is asked of a table as LaTeX, and of numbers for the text.

    Attributes:
        siunitx: columns of siunitx.
        caption: of a float.
        ref: name of a float.
        notes: whether the sentences below the table are printed; ``"short"``: fewer.
        size: of the letters.
        macros: a file for the numbers.
        prefix: of the names of these.
    """

    siunitx: bool = False
    caption: str | None = None
    ref: str | None = None
    notes: bool | str = False
    size: str | None = None
    macros: str | None = None
    prefix: str | None = None

    def check(self, form: str) -> None:
        """Refuse what a format does not have.

        Raises:
            OptionError: an option of LaTeX is given, and the format is another.
        """
        given = {
            "--siunitx": self.siunitx,
            "--caption": self.caption is not None,
            "--ref": self.ref is not None,
            "--notes": bool(self.notes),
            "--size": self.size is not None,
        }
        for name, is_given in given.items():
            if is_given and form != TEX:
                raise OptionError(f"{name} is for LaTeX: --format tex, or -o FILE.tex")


def table_root_option(command: _Command) -> _Command:
    """Add the option ``-C``; with ``--verify`` the command gets only what was given."""
    return click.option(
        "-C",
        "--root",
        metavar="DIR",
        type=click.Path(file_okay=False),
        callback=_root,
        help="Results root; by default $ZTXEXP_RESULTS, what the project says, or ./results.",
    )(command)


def file_options(command: _Command) -> _Command:
    """Add ``--verify FILE...`` and the options of LaTeX.

    With ``--verify`` the command is not called; else it gets a :class:`ForPapers` as ``papers``.
    """
    names = list(ForPapers.__dataclass_fields__)

    @functools.wraps(command)
    def with_files(*args: Any, **given: Any) -> Any:
        files, verify, skip = (given.pop(one) for one in ("files", "verify", "skip_others"))
        papers = ForPapers(**{name: given.pop(name) for name in names})
        if verify:
            return verified(files, given["root"], skip)
        if files or skip:
            what = f"{files[0]!r} is a file to check" if files else "--skip-others is for checking"
            raise OptionError(f"{what}; give --verify as well")
        if papers.prefix is not None and papers.macros is None:
            raise OptionError("--prefix is for the names of numbers; give --macros FILE as well")
        return command(*args, papers=papers, **given)

    options = [
        click.option(
            "--verify",
            is_flag=True,
            is_eager=True,
            help="Check that files still say what the runs give; folders mean all files in them. "
            "Exit 1 where something does not hold.",
        ),
        click.option(
            "--skip-others", is_flag=True, help="With --verify: pass over files without a table."
        ),
        click.option("--siunitx", is_flag=True, help="LaTeX: columns of the package siunitx."),
        click.option("--caption", metavar="TEXT", cls=Once, help="LaTeX: a float with a caption."),
        click.option("--ref", metavar="NAME", cls=Once, help=r"LaTeX: a float with this \label."),
        click.option(
            "--notes",
            is_flag=False,
            flag_value="full",
            type=click.Choice(["full", "short"]),
            callback=lambda ctx, param, value: {"full": True, None: False}.get(value, value),
            help="LaTeX: print what stands below the table; short: marks, spread, n and test.",
        ),
        click.option("--size", metavar="SIZE", cls=Once, help="LaTeX: small, footnotesize, ..."),
        click.option(
            "--macros",
            metavar="FILE",
            cls=Once,
            type=click.Path(dir_okay=False),
            help=r"Write the numbers for the text, \ztx{best.accuracy}, to a LaTeX file.",
        ),
        click.option("--prefix", metavar="NAME", cls=Once, help="Begins the names of --macros."),
        click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE]..."),
    ]
    decorated: Any = with_files
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _root(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """Return the results root, which exists; with ``--verify`` only what was given."""
    if ctx.params.get("verify"):
        return None if value is None else checked_root(Path(value))
    return checked_root(results_root(value))


# ---- writing ---------------------------------------------------------------------------------


def written_latex(table: Table, path: str | None, papers: ForPapers, record: bool) -> str:
    """Return a table as LaTeX, as it is asked for."""
    from ztxexp.tables.latex import latex_text

    return latex_text(
        table,
        papers.siunitx,
        papers.caption,
        papers.ref,
        papers.notes,
        size=papers.size,
        path=path,
        record=record,
    )


def write_macros(table: Table, papers: ForPapers) -> None:
    """Write the numbers for the text, where they are asked for."""
    if papers.macros is None:
        return
    from ztxexp.tables.macros import macros, macros_text

    prefix = papers.prefix or ""
    text = macros_text(table, prefix, papers.macros)
    write_text(text, Output(TEX, papers.macros))
    say(f"wrote {plural(len(macros(table, prefix)), 'number')} to {papers.macros}")


# ---- checking --------------------------------------------------------------------------------


def verified(paths: Sequence[str], root: Path | None, skip_others: bool = False) -> int:
    """Check files, print what does not hold, and return the exit status.

    Raises:
        OptionError: no file is given.
    """
    from ztxexp.tables.remaking import Maker
    from ztxexp.tables.verify import check

    if not paths:
        raise OptionError("--verify checks files; name some, such as --verify tables/*.tex")
    maker, holds = Maker(root), True
    lines: list[str] = []
    commands: list[str] = []
    for path, is_asked in _files(paths):
        with captioned():
            checked = check(path, maker)
        if not checked.has_record and (skip_others or not is_asked):
            continue
        holds = holds and checked.holds
        commands += checked.commands
        lines += [str(problem) for problem in checked.problems]
        if checked.holds:
            parts = [plural(checked.cells, "cell")] if checked.cells or not checked.macros else []
            parts += [plural(checked.macros, "number")] if checked.macros else []
            lines.append(f"{' and '.join(parts)} of {short_path(path)} hold")
    if not lines and not skip_others:
        raise ZtxexpError(f"no file below {', '.join(paths)} has a table that can be checked")
    write_text("\n".join(sanitize_for_terminal(str(encodable(line))) for line in lines))
    for command in dict.fromkeys(commands):
        say(f"write it anew: {command}")
    return 0 if holds else 1


def _files(paths: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each file, and whether it was named itself and not a folder that it is in."""
    for path in paths:
        if not os.path.isdir(path):
            yield path, True
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.lower().endswith(_WITH_RECORD):
                    yield os.path.join(folder, name), False
