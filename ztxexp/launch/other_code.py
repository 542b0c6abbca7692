"""What a plan says of runs that other code than the present has made: :class:`OtherCode`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ztxexp.provenance.code_version import CodeVersion
from ztxexp.provenance.programs import recorded_words
from ztxexp.results.functions import function_of, is_same_function
from ztxexp.results.history import PastRun
from ztxexp.text.format import plural, sanitize_for_terminal
from ztxexp_core.store.run_folder import MIXED

CodeRule = Literal["same", "function", "any"]

_FUNCTIONS_SHOWN = 3
_Pasts = Sequence["PastRun | None"]


class OtherCode:
    """Finds and names the runs that another version of the function, or another one, has made.

    Args:
        now: the present version; ``None`` where no function was given.
        rule: what counts; with ``"any"`` there is nothing to say.
        asked_by: what the user called, with ``{}`` where ``"same"`` or ``"any"`` goes.
        stated: the version that the user has stated.

    Example:
        >>> OtherCode(version_of(train)).note([past])
        'from another version of train()'
    """

    def __init__(
        self,
        now: CodeVersion | None = None,
        rule: CodeRule | None = None,
        asked_by: str = "",
        stated: str | None = None,
    ):
        self.now = now or CodeVersion()
        self.rule = rule
        self.any_code = rule == "any"
        self._silent = self.any_code or now is None
        self._asked_by = asked_by
        self._stated = stated
        self._functions: dict[str, str | None] = {}

    @property
    def only_function(self) -> str | None:
        """The function that alone counts, whatever its version; ``None`` where others do, too."""
        return self.now.function if self.rule == "function" else None

    @property
    def claim_suffix(self) -> str:
        """What a claim's key adds to an identity: launches share the work of what counts for them.

        An unknown version is like no other.
        """
        if self.only_function is not None:
            digest = hashlib.sha256(self.only_function.encode(errors="surrogatepass")).hexdigest()
            return f"@function-{digest[:32]}"
        return f"@{self.now.hash or os.urandom(8).hex()}" if self.rule == "same" else ""

    def made(self, pasts: Iterable[PastRun | None]) -> list[PastRun]:
        """Return those of some runs that other code has made, as far as is known."""
        now = self.now.hash
        return [past for past in pasts if past and now and past.code_hash not in (None, now)]

    def note(self, pasts: _Pasts) -> str:
        """Return how many of some runs are from other code; empty where there is nothing to say."""
        others = [] if self._silent else self.made(pasts)
        share = f"{len(others)} " if len(others) < len(pasts) else "all " if len(pasts) > 1 else ""
        return f"{share}from {self._makers(others)}" if others else ""

    def unknown_note(self, reused: int) -> str:
        """Return that reused results are not compared; empty where there is nothing to say."""
        if self._silent or not reused or self.now.hash is not None or self._stated is not None:
            return ""
        return f"version of {self.now.name} is not known, so reused results are not compared"

    def warning(self, gone_on_with: Mapping[str, _Pasts], reused: _Pasts) -> str:
        """Return what a launch says; empty where there is nothing to say.

        Args:
            gone_on_with: runs in whose folders it goes on, by the word for it.
            reused: runs that it reuses.
        """
        if self._silent:
            return ""
        notes = {word: self.note(pasts) for word, pasts in gone_on_with.items()}
        parts = [
            f"{len(self.made(gone_on_with[word]))} {word}, {note.removeprefix('all ')}"
            for word, note in notes.items()
            if note
        ]
        others = self.made(reused)
        if others:
            share = f"{len(others)} of " if len(reused) > 1 else ""
            results = plural(len(reused), "reused result")
            parts.append(f"{share}{results} made by {self._makers(others)}")
        if not parts:
            return self.unknown_note(len(reused))
        number = len(others) + sum(len(self.made(pasts)) for pasts in gone_on_with.values())
        parts.append(
            f"to run {'it' if number == 1 else 'them'} anew: {self._asked_by.format('same')}; "
            f"if the change does not matter: {self._asked_by.format('any')}"
        )
        return "; ".join(parts)

    def maker(self, past: PastRun) -> str:
        """Return why a run does not count where only the present version does."""
        if self.now.hash is None and self.rule != "function":
            return f"not compared, because the version of {self.now.name} is not known"
        if is_mixed(past):
            return "by several versions of the code"
        name = self._other_function(past)
        return f"by another function, {name}" if name else "by another version of the code"

    def _makers(self, others: Sequence[PastRun]) -> str:
        names = {self._other_function(past): past for past in others if not is_mixed(past)}
        makers = [f"another version of {self.now.name}"] if None in names else []
        makers += [f"several versions of {self.now.name}"] if any(map(is_mixed, others)) else []
        functions = sorted(filter(None, names))
        if functions:
            more = ", ..." if len(functions) > _FUNCTIONS_SHOWN else ""
            word = "another function" if len(functions) == 1 else "other functions"
            makers.append(f"{word}, {', '.join(functions[:_FUNCTIONS_SHOWN])}{more}")
        return " or ".join(makers)

    def _other_function(self, past: PastRun) -> str | None:
        """Return the name of the function that made a run; ``None`` where it is the present one.

        Runs of one hash are of one function, so that one of them is asked.
        """
        known = past.code_hash or past.run_id
        if known not in self._functions:
            self._functions[known] = function_of(past.folder)
        name, now = self._functions[known], self.now.function
        if name is None or now is None or is_same_function(name, now):
            return None
        module, _, qualname = name.partition(":")
        if recorded_words(name):
            return f"`{sanitize_for_terminal(name)}`"
        same = now.endswith(f":{qualname}")
        return sanitize_for_terminal(f"{module}.{qualname}()" if same else f"{qualname}()")


def is_mixed(past: PastRun) -> bool:
    """Return whether the attempts of a run ran several versions of the code."""
    return str(past.code_hash).startswith(MIXED)
