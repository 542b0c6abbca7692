"""Reports and exports without hosts, users, home folders, git remotes, commits and authors.

What was taken is replaced by a stable word (``host-1``, ``user-1``, ``~``), in every text and in
each of the forms in which programs write it: plain, escaped as in JSON or Python, in a URL.
"""

from __future__ import annotations

import functools
import html
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, quote_plus

from ztxexp.analysis.run_table import RunTable
from ztxexp.report.identifying import COMMIT, HOME, Secrets, secrets_of
from ztxexp.report.schema import Payload
from ztxexp.text.format import encodable, plural

if TYPE_CHECKING:
    import pandas as pd

_SHORT = 5  # a shorter one is taken where it stands alone only: "tom" is no part of "custom"
_FEWEST = 3  # letters of one that was cut off
_DIGITS = 7  # of a commit, by which git knows it
_PLURALS = {"network address": "network addresses", "e-mail address": "e-mail addresses"}
_SHOWN = 6

# Letters before a word that are no part of it: of %2F, of \n, of \u00e9.
_BEFORE = r"(?:(?<![^\W_])|(?<=%[0-9a-fA-F]{2})|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"
_AFTER = r"(?![^\W_])"
_SYSTEM = r"(?!(?:usr|bin|sbin|opt|etc|dev|proc|sys|tmp|lib|lib64|var|snap|nix)(?:/|\b))"
_PATH = re.compile(rf"(?<![\w/.~:%-])/{_SYSTEM}(?:[\w.+-]+/)+[\w.+-]*")
_OUR_WORDS = frozenset({"status", "part", "mode", "source", "state", "version", "ztxexp", "counts"})
_TYPES = frozenset({"number", "boolean", "text"})


class Anonymiser:
    """Replaces what says who and where, and counts it.

    Args:
        secrets: what is taken, with its words.

    Attributes:
        count: how often each kind was taken.

    Example:
        >>> secrets = Secrets()
        >>> secrets.add_home("/home/alice", "alice")
        >>> Anonymiser(secrets).text("python /home/alice/train.py --user Alice")
        'python ~/train.py --user user-1'
    """

    def __init__(self, secrets: Secrets):
        self.secrets = secrets
        self.count: Counter[str] = Counter()
        self._of_form: dict[str, tuple[str, str]] = {}
        long, others = [], {}
        for secret, known in secrets.word_of.items():
            for form in forms(secret):
                self._of_form.setdefault(form.lower(), known)
                pattern = _pattern(form, known[0])
                if pattern is None:
                    long += [form, form.lower()]  # of some letters no pattern knows both
                else:
                    others[pattern] = len(form)
        longest_first = sorted(others, key=others.__getitem__, reverse=True)
        patterns = [*([_tree_pattern(long)] if long else []), *longest_first]
        self._pattern = re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)
        self._replaced = functools.lru_cache(maxsize=100_000)(self._replace)

    def text(self, text: str) -> str:
        """Return a text without what is taken."""
        replaced, kinds = self._replaced(text)
        self.count.update(kinds)
        return replaced

    def value(self, value: Any) -> Any:
        """Return a value with all texts in it replaced, names of keys as well."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        return value

    def taken(self) -> list[str]:
        """Return what was taken, how often, by what it was replaced: a line for each kind."""
        lines = []
        for kind, count in self.count.items():
            words = dict.fromkeys(w for k, w in self.secrets.word_of.values() if k == kind)
            shown = [*list(words)[:_SHOWN], *(["..."] if len(words) > _SHOWN else [])]
            name = _PLURALS.get(kind, f"{kind}s")
            lines.append(f"{name}, {plural(count, 'time')} (now {', '.join(shown)})")
        return lines

    def _replace(self, text: str) -> tuple[str, tuple[str, ...]]:
        kinds: list[str] = []

        def word(match: re.Match[str]) -> str:
            kind, replacement = self._known(match[0])
            kinds.append(kind)
            return replacement

        replaced = self._pattern.sub(word, text)
        if "..." in replaced:
            replaced = self._without_fragments(replaced, kinds)
        return replaced, tuple(kinds)

    def _known(self, form: str) -> tuple[str, str]:
        plain = form.lower()
        if plain in self._of_form:
            return self._of_form[plain]
        for known, of in self._of_form.items():  # digits of a commit; letters without a pair
            if plain.startswith(known[:_DIGITS]) and of[0] == COMMIT:
                return of
            if known.casefold() == plain.casefold():
                return of
        return "name", "name"

    def _without_fragments(self, text: str, kinds: list[str]) -> str:
        """Return a text without the beginnings and ends of what was cut off at its dots."""
        parts = text.split("...")
        for at in range(len(parts)):
            for form, (kind, _) in self._of_form.items():
                low = parts[at].lower()
                for size in range(min(len(form) - 1, len(low)), _FEWEST - 1, -1):
                    if at < len(parts) - 1 and low.endswith(form[:size]):
                        parts[at] = parts[at][:-size]
                    elif at > 0 and low.startswith(form[-size:]):
                        parts[at] = parts[at][size:]
                    else:
                        continue
                    kinds.append(kind)
                    break
        return "...".join(parts)


def forms(secret: str) -> set[str]:
    """Return the forms in which programs write a text.

    Example:
        >>> sorted(forms("a/b"))
        ['a%252Fb', 'a%2Fb', 'a/b', 'a\\\\/b', 'a\\\\\\\\/b']
    """
    plain = str(encodable(secret))
    written: set[str] = set()
    for form in {plain, unicodedata.normalize("NFC", plain), unicodedata.normalize("NFD", plain)}:
        slashed = form.replace("/", "\\/")
        as_json = json.dumps(form)[1:-1]
        written |= {form, slashed, slashed.replace("\\", "\\\\"), as_json}
        written |= {json.dumps(form, ensure_ascii=False)[1:-1], json.dumps(as_json)[1:-1]}
        written |= {repr(form)[1:-1], ascii(form)[1:-1], repr(form.encode())[2:-1]}
        quoted = quote(form, safe="")
        written |= {quoted, quote(quoted, safe=""), quote(form), quote_plus(form)}
        written |= {html.escape(form), form.replace("&", "\\u0026")}
    return {form for form in written if form}


def _pattern(form: str, kind: str) -> str | None:
    """Return where a form counts that does not count everywhere; ``None`` for others."""
    if kind == COMMIT and len(form) > _DIGITS:
        rest = len(form) - _DIGITS
        return rf"(?<![0-9a-z]){re.escape(form[:_DIGITS])}[0-9a-f]{{0,{rest}}}(?![0-9a-z])"
    if kind == HOME:
        alone = _BEFORE if len(form) <= _SHORT else ""  # /root, not /data/root
        return alone + re.escape(form) + r"(?![\w-])"
    return f"{_BEFORE}{re.escape(form)}{_AFTER}" if len(form) < _SHORT else None


def _tree_pattern(words: Iterable[str]) -> str:
    """Return a pattern for the longest of many words, which costs the same for any number."""
    tree: dict[str, Any] = {}
    for word in words:
        node = tree
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _of_node(tree)


def _of_node(node: dict[str, Any]) -> str:
    text = ""
    while len(node) == 1 and "" not in node:  # a chain is no deeper nesting
        ((letter, node),) = node.items()
        text += re.escape(letter)
    branches = [re.escape(letter) + _of_node(below) for letter, below in node.items() if letter]
    if not branches:
        return text
    return f"{text}(?:{'|'.join(branches)})" + ("?" if "" in node else "")


# ---- reports and frames --------------------------------------------------------------------------


def anonymised(payload: Payload, table: RunTable) -> Payload:
    """Return a payload without what says who made the runs, and where; it lists what was taken.

    Args:
        payload: of a report.
        table: the runs that it is about.

    Example:
        >>> anonymised(payload(table), table)["anonymous"]
        ['host names, 12 times (now host-1)', 'home folders, 36 times (now ~)']
    """
    anonymiser = Anonymiser(secrets_of(table, texts_in(payload)))
    changed = cast(Payload, _changed(payload, anonymiser))
    changed["anonymous"] = anonymiser.taken()
    return changed


def anonymous_frame(frame: pd.DataFrame, table: RunTable) -> tuple[pd.DataFrame, list[str]]:
    """Return a frame without what says who made the runs, and where; and what was taken.

    Args:
        frame: a row for each run, or whatever else is said about them.
        table: the runs.
    """
    columns = [frame.iloc[:, at].tolist() for at in range(frame.shape[1])]
    names = list(map(str, frame.columns))
    anonymiser = Anonymiser(secrets_of(table, texts_in([names, columns])))
    changed = frame.copy()
    for at, cells in enumerate(columns):
        if any(isinstance(cell, (str, list, dict)) for cell in cells):
            changed.isetitem(at, list(map(anonymiser.value, cells)))
    changed.columns = list(map(anonymiser.text, names))
    return changed, anonymiser.taken()


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a value, names of keys as well; some several times."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from texts_in(key)
            yield from texts_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts_in(one)


def _changed(value: Any, anonymiser: Anonymiser) -> Any:
    """Return a part of a payload with its texts replaced; its own words stay."""
    if isinstance(value, dict):
        return {
            key: one
            if key in _OUR_WORDS or (key == "type" and one in _TYPES)
            else anonymiser.value(one)
            if key == "values"
            else _changed(one, anonymiser)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_changed(one, anonymiser) for one in value]
    return anonymiser.value(value)


def paths_left(value: Any) -> list[str]:
    """Return the absolute paths that still stand in a value, but for those of the system.

    They may name a group or a project: somebody has to look at them.
    """
    return list(dict.fromkeys(m[0] for text in texts_in(value) for m in _PATH.finditer(text)))
