"""``ztxexp tag``: set and remove tags of runs that have started or ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ztxexp.cli.completing import complete_run
from ztxexp.cli.filters import Filters, filter_options
from ztxexp.cli.output import say
from ztxexp.cli.shared import json_option, print_json, print_table, root_option
from ztxexp.results.to_type import line_to_type
from ztxexp_core.errors import ConfigError

if TYPE_CHECKING:
    from ztxexp.results.names import NamedRuns

_REMOVED = "\x1f"  # stands for the "-" of a tag to remove while options are told apart
_OPTIONS = ("-C", "-h", "-w")


class _TagCommand(click.Command):
    """Takes ``-draft`` for a word: of short options there are ``-C``, ``-w`` and ``-h``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Mark the words that begin with one ``-``."""
        marked = [
            f"{_REMOVED}{word[1:]}"
            if word[:1] == "-" and word[1:2] not in ("", "-") and word not in _OPTIONS
            else word
            for word in args
        ]
        return super().parse_args(ctx, marked)


@click.command("tag", cls=_TagCommand)
@click.argument("words", nargs=-1, metavar="[RUN]... [TAG]...", shell_complete=complete_run)
@root_option
@json_option
@filter_options(at=False)
def command(words: Sequence[str], root: Path, as_json: bool, filters: Filters) -> int:
    """Set tags of runs, KEY=VALUE or WORD, and remove them, -KEY; without a tag, show them.

    RUN is an id or a piece of one, a short id, @last, @failed, @best:METRIC or lr=0.01,seed=1.
    After the first one, whole ids, short ids and what begins with @ are runs too; all else is a
    tag, and +TAG is one in any case. With a filter such as --where no RUN is needed. Tags stay when
    a run is resumed, and --tag filters by them.

    \b
      ztxexp tag 3f2a stage=final good -draft
      ztxexp tag @best:accuracy @last keep
      ztxexp tag --where 'accuracy > 0.9' candidate
    """
    from ztxexp.results.names import NamedRuns
    from ztxexp.results.tags import split_tags, tag_texts, with_tags
    from ztxexp.upkeep.tagging import tag

    words = [f"-{word[1:]}" if word.startswith(_REMOVED) else word for word in words]
    named, filtered = NamedRuns.of(root), filters != Filters()
    names, rest = _names(named, words, filtered)
    tags, removed = split_tags(rest)
    if filtered:
        names = filters.runs(root, names).runs.names
        if not names:
            say("no run passes the filters; nothing was tagged")
            return 1
    if rest:
        tagged = tag(root, names, tags, removed)
    else:
        places = dict.fromkeys(at for name in names for at in named.find(name))
        tagged = {}
        for at in places:  # again from the disk: that of a run under way may be in no cache
            record = with_tags(dict(named.record(at)), f"{root}/{named.folders[at]}")
            tagged[named.folders[at]] = tag_texts(record.get("tags"))
    if as_json:
        print_json(tagged)
        return 0
    position = {folder: at for at, folder in enumerate(named.folders)}
    rows = [
        (named.short[position[name]], named.label(position[name]), "  ".join(texts) or "-")
        for name, texts in tagged.items()
    ]
    print_table(("run", "", "tags"), rows)
    if tags:
        first = next(iter(tag_texts({name: value or "" for name, value in tags.items()})))
        say(f"next: {line_to_type(root, 'list', '--tag', first)}")
    return 0


def _names(named: NamedRuns, words: Sequence[str], filtered: bool) -> tuple[list[str], list[str]]:
    """Return which of the words name runs, and which are tags."""
    names, tags = [], list(words)
    if not filtered:
        if not words or words[0].startswith(("-", "+")):
            raise ConfigError("which run? ztxexp tag RUN... [KEY=VALUE | WORD | -KEY]...")
        names.append(tags.pop(0))
    while tags and (tags[0].startswith("@") or named.is_exact(tags[0])):
        names.append(tags.pop(0))
    return names, tags
