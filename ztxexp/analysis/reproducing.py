"""How a run came about, what differs today, and the way back there: :func:`reproduce`.

The recorded state is read from the run's folder and the files beside it, the current state from
git, the installed packages and the source. Nothing of the user's is imported or written.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp.provenance import provenance
from ztxexp.provenance.git_state import (
    Checkout,
    Uncommitted,
    UnknownStateError,
    find_checkout,
    uncommitted,
)
from ztxexp.provenance.masking import MASK
from ztxexp.provenance.programs import recorded_words
from ztxexp.provenance.provenance import hashes_in_file
from ztxexp.results.selection import Selection
from ztxexp.text.format import cut, plural, sanitize_for_terminal
from ztxexp.text.labels import label
from ztxexp.text.report import Printable
from ztxexp_core.errors import ConfigError
from ztxexp_core.store.files import RunFiles, known_record
from ztxexp_core.values.codec import numbers

_SHOWN = 10  # differences; the record holds them all
_WIDTH = 160
_DIGITS = 12  # of a hash, as people compare them
_COMMIT = re.compile(r"[0-9a-f]{7,64}")  # nothing that git would take for an option
_INTERPRETER = re.compile(r"(?:.*/)?python[\d.]*")
_MODULE_OPTION = re.compile(r" -\w*m ?(\S+)")
_COMMITTED, _NOT_COMMITTED, _PACKAGE = "commit", "what is not committed", "package "
_NOT_INSTALLED = "not installed"


class Difference(NamedTuple):
    """Something that is not today as it was when a run was launched.

    Attributes:
        what: such as ``commit``, ``Python``, ``function`` or ``package numpy``.
        then: as it was.
        today: as it is.
    """

    what: str
    then: str
    today: str


@dataclasses.dataclass(frozen=True, repr=False)
class Reproduction(Printable):
    """What is known of how a run came about, what differs today, and how to get there.

    ``None`` stands for what was not recorded. Printed, it is a report.

    Attributes:
        run_id: the run.
        folder: its folder.
        config: its configuration.
        commit: that was checked out where the code is.
        branch: likewise.
        dirty: whether anything was not committed.
        patch: what was not committed.
        patch_path: the file that holds it, for ``git apply`` at the top of the repository.
        patch_note: what the patch lacks, or why there is none.
        working_folder: where the command was given, below the top of the repository.
        command: the line that started the launch, secrets masked.
        function: the experiment function, ``module:name``.
        function_file: its file, below the top of the repository or absolute.
        python_version: for example ``3.12.1``.
        packages: version of each installed package by its name; empty where not recorded.
        not_recorded: what is not known, in words.
        differences: what is not today as it was then, as far as both are known. Uncommitted changes
            are compared in the repository of the working folder only.
        steps: lines for a shell that bring today's state back to that of the run. The last one runs
            its configuration again, alone; where that cannot be done by name, the whole launch.
    """

    run_id: str
    folder: Path
    config: dict[str, Any] | None
    commit: str | None
    branch: str | None
    dirty: bool | None
    patch: str | None
    patch_path: Path | None
    patch_note: str | None
    working_folder: str | None
    command: str | None
    function: str | None
    function_file: str | None
    python_version: str | None
    packages: Mapping[str, str]
    not_recorded: tuple[str, ...]
    differences: tuple[Difference, ...]
    steps: tuple[str, ...]

    def load_function(self, module: str, any_code: bool = False) -> Any:
        """Import the run's function by its name; a launch in its module is not started.

        Args:
            module: where it is, as it can be imported today.
            any_code: also where commit or function are not what they were.

        Raises:
            ConfigError: they are not, or the module has no such function.
        """
        from ztxexp.analysis.loading import load_function, refuse_other_code

        refuse_other_code([] if any_code else [d for d in self.differences if _is_of_code(d)])
        return load_function(module, str(self.function).partition(":")[2])

    def one_line(self) -> str:
        return f"run {self.run_id}: {plural(len(self.differences), 'difference')} today"

    def lines(self) -> Iterator[str]:
        return map(sanitize_for_terminal, self._lines())

    def _lines(self) -> Iterator[str]:
        is_complete = not self.patch_note or self.patch_note.startswith("of the repository")
        nothing = "nothing" if self.dirty is False and is_complete else ""
        changes = filter(None, [str(self.patch_path or ""), self.patch_note, nothing])
        branch = f" on {self.branch}" if self.branch else ""
        file = f" in {self.function_file}" if self.function_file else ""
        known = {
            "configuration": self.config and label(self.config, width=_WIDTH),
            "commit": self.commit and f"{self.commit}{branch}",
            "not committed": "; ".join(changes),
            "folder": self.working_folder,
            "command": self.command,
            "function": self.function and f"{self.function}{file}",
            "Python": self.python_version,
            "packages": str(len(self.packages) or ""),
            "not recorded": ", ".join(self.not_recorded),
        }
        yield from (f"  {name:<14} {cut(value, _WIDTH)}" for name, value in known.items() if value)
        yield "what differs today"
        for what, then, today in self.differences[:_SHOWN]:
            yield f"  {what}: {then} -> {today}"
        if len(self.differences) > _SHOWN:
            yield f"  and {len(self.differences) - _SHOWN} more, see .differences"
        if not self.differences:
            yield "  nothing of what was recorded"
        yield "to get there (whoever made the records chose what these lines run)"
        yield from (f"  {step}" for step in self.steps)


def reproduce(selection: Selection) -> Reproduction:
    """Return what it takes to reproduce a run, see ``ResultAnalyzer.reproduce``."""
    names = selection.folder_names()
    if len(names) > 1:
        raise ConfigError(f"one run can be reproduced, not {len(names)}: {', '.join(names[:5])}")
    folder = Path(selection.root, names[0])
    files = RunFiles(folder)
    config, meta = numbers(known_record(files.config)), _Meta(known_record(files.meta) or {})
    patch = provenance.read_shared(selection.root, meta.git_diff, provenance.PATCH)
    packages = provenance.packages_of(selection.root, meta.record)
    today, changes, unknown = Checkout(None, None, None), None, "none"
    try:
        today = find_checkout(meta.code_folder) or today
    except UnknownStateError as exc:
        unknown = f"not known: {exc}"
    # Not in a folder that the record names: programs of its git settings would be run.
    if today.top is not None and meta.git_commit is not None and meta.code_folder is None:
        changes = uncommitted(today, folder.parent)
    differences = tuple(_differences(meta, packages, today, changes, unknown))
    back = _steps(meta, folder.parent, today.top, changes, differences)
    start = _start(meta, _run_alone(meta, folder) if config is not None else None)
    # Anybody may have written the records: no line break may end a comment.
    steps = [sanitize_for_terminal(s) if s.startswith("#") else s for s in (*back, *start)]
    return Reproduction(
        run_id=folder.name,
        folder=folder,
        config=config,
        commit=meta.git_commit,
        branch=meta.git_branch,
        dirty=meta.git_dirty,
        patch=patch[1].decode(errors="surrogateescape") if patch else None,
        patch_path=patch[0] if patch else None,
        patch_note=meta.git_diff_note,
        working_folder=meta.git_folder,
        command=meta.launch_command,
        function=meta.function,
        function_file=meta.function_file,
        python_version=meta.python_version,
        packages=packages,
        not_recorded=tuple(_not_recorded(meta, patch is not None, packages)),
        differences=differences,
        steps=tuple(steps),
    )


class _Meta:
    """What ``meta.json`` says, where it is of the type that it should be."""

    def __init__(self, record: Mapping[str, Any]):
        self.record = record

    def __getattr__(self, name: str) -> Any:
        value = self.record.get(name)
        return value if isinstance(value, bool if name == "git_dirty" else str) else None

    @property
    def code_folder(self) -> str | None:
        """The folder of the code, where it is another repository than that of the working folder.

        ``None`` for the working folder, also where there is no such folder on this machine.
        """
        file = self.function_file
        if self.git_folder is not None or file is None or not os.path.isabs(file):
            return None
        folder = os.path.dirname(os.path.realpath(file))
        return folder if os.path.isdir(folder) else None

    @property
    def launch_command(self) -> str | None:
        """The command; 1.0.3 has recorded no more than ``sys.argv``."""
        if self.command or not self.started_cmd:
            return self.command or None
        is_script = self.started_cmd.split(" ", 1)[0].endswith((".py", ".py'"))
        return f"python {self.started_cmd}" if is_script else str(self.started_cmd)


def _not_recorded(meta: _Meta, patch: bool, packages: Mapping[str, str]) -> Iterator[str]:
    recorded = {
        "commit": (meta.git_commit, None),
        "Python": (meta.python_version, None),
        "code of the function": (meta.function_hash or meta.module_hash, None),
        "what was not committed": (patch or meta.git_dirty is False, meta.git_diff),
        "packages": (packages, meta.packages),
        "command": (meta.launch_command, None),
    }
    for name, (value, file) in recorded.items():
        if not value:
            yield f"{name}, the file is gone or damaged" if file else name


# ---- what differs today ----------------------------------------------------------------------


def _differences(
    meta: _Meta,
    packages: Mapping[str, str],
    today: Checkout,
    changes: Uncommitted | None,
    unknown: str,
) -> Iterator[Difference]:
    if meta.git_commit is not None:
        if today.commit != meta.git_commit:
            yield Difference(_COMMITTED, meta.git_commit, today.commit or unknown)
        recorded = meta.git_diff is not None or meta.git_dirty is False
        if recorded and changes is not None and changes.dirty is not None:
            now = _patch(provenance.content_hash(changes.patch) if changes.patch else None)
            if changes.dirty and not changes.patch:
                now = f"something ({changes.note})"
            if now != _patch(meta.git_diff):
                yield Difference(_NOT_COMMITTED, _patch(meta.git_diff), now)
    yield from _code(meta, today.top or os.curdir)
    python = platform.python_version()
    if meta.python_version not in (None, python):
        yield Difference("Python", meta.python_version, python)
    installed = provenance.installed() if packages else {}
    for name in sorted({*packages, *installed}):
        then, now = packages.get(name, _NOT_INSTALLED), installed.get(name, _NOT_INSTALLED)
        if then != now:
            yield Difference(f"{_PACKAGE}{name}", then, now)


def _patch(name: str | None) -> str:
    return f"patch {name[:_DIGITS]}" if name else "nothing"


def _code(meta: _Meta, top: str) -> Iterator[Difference]:
    """Compare the source of today with what was recorded."""
    file, function, recorded = meta.function_file, meta.function, meta.function_hash
    if file is not None and recorded_words(function):
        module_hash = hashes_in_file(os.path.join(top, file), "")[0]
        if None not in (meta.module_hash, module_hash) and meta.module_hash != module_hash:
            what = f"the command's file {file}"
            yield Difference(what, _short(str(meta.module_hash)), _short(str(module_hash)))
        return
    if file is None or function is None or not (recorded or "").startswith("ast:"):
        return
    module_hash, hashes = hashes_in_file(os.path.join(top, file), function.partition(":")[2])
    where = f"{function} in {file}"
    if module_hash is None:
        yield Difference("function", where, "there is no such file, or it is not Python")
    elif not hashes:
        yield Difference("function", where, "there is none of that name")
    elif recorded not in hashes:
        yield Difference("function", _short(recorded), _short(hashes[0]))
    elif meta.module_hash not in (None, module_hash):
        what = f"the function's file {file}"
        yield Difference(what, _short(meta.module_hash), _short(module_hash))


def _short(digest: str) -> str:
    return digest.partition(":")[2][:_DIGITS]


def _is_of_code(difference: Difference) -> bool:
    """Return whether it is of the commit, where there is one today, or of the function itself."""
    is_commit = difference.what == _COMMITTED and bool(_COMMIT.fullmatch(difference.today))
    return is_commit or difference.what == "function"


# ---- how to get there ------------------------------------------------------------------------


def _steps(
    meta: _Meta,
    root: Path,
    top: str | None,
    changes: Uncommitted | None,
    differences: Sequence[Difference],
) -> Iterator[str]:
    """Yield the lines that bring back Python, code and packages."""
    then = {each.what: each.then for each in differences}
    if "Python" in then:
        yield f"# with Python {then['Python']}"
    patch = provenance.read_shared(root, meta.git_diff, provenance.PATCH)
    # No setting of the user's may mend the white space of what was run.
    apply = patch and f"git apply --whitespace=nowarn {_quoted(str(patch[0].absolute()))}"
    if meta.git_commit is None and apply:
        yield from ("# in an empty folder:", apply)
    elif _COMMITTED in then or _NOT_COMMITTED in then:
        outside = top is not None and meta.code_folder is not None
        git = f"git -C {_quoted(top)}" if top and outside else "git"
        if not outside:
            yield f"cd {_quoted(top)}" if top else "# in a clone of the repository:"
        unclean = changes is None or changes.dirty is not False
        if unclean:
            place = f"in {_quoted(str(top))}" if outside else "there"
            yield f"# commit or move away what is not committed {place} now"
        if (_COMMITTED in then or unclean) and _COMMIT.fullmatch(meta.git_commit):
            yield f"{git} checkout {meta.git_commit}"
        if apply:
            yield apply.replace("git", git, 1)
        elif meta.git_diff:
            yield "# what was not committed is missing: its file is gone or damaged"
        if meta.git_diff_note:
            yield f"# of what was not committed: {meta.git_diff_note}"
        if meta.git_folder not in (None, "."):
            yield f"cd {_quoted(meta.git_folder)}"
    elif top and meta.git_folder:
        folder = os.path.normpath(os.path.join(top, meta.git_folder))
        if folder != os.path.realpath(os.curdir):
            yield f"cd {_quoted(folder)}"
    versions = [
        (what.removeprefix(_PACKAGE), was) for what, was in then.items() if _PACKAGE in what
    ]
    wanted = [f"{name}=={was}" for name, was in versions if was != _NOT_INSTALLED]
    if wanted:
        yield f"python -m pip install {_joined(wanted)}"


def _start(meta: _Meta, alone: str | None) -> Iterator[str]:
    """Yield the lines that run the configuration again, or else the whole launch."""
    command = meta.launch_command
    if command is not None:
        if MASK in command:
            yield f"# {MASK} stands for what was masked"
        if " -c ..." in command:
            yield "# ... stands for a program that was given by -c"
        command = _safe_command(command)
        if alone is None:
            yield "# starts the whole launch: the run's function cannot be imported by name"
            yield command
        else:
            yield f"# the whole launch: {command}"
    if alone is not None:
        yield "# this run alone, once the code is as it was:"
        yield alone


def _safe_command(command: str) -> str:
    """Return a recorded command as one line in which no word is more than a word to a shell."""
    try:
        words = shlex.split(command)
    except ValueError:  # version 1.0.3 has recorded words as they are
        words = command.split()
    python = next((at for at, word in enumerate(words) if _INTERPRETER.fullmatch(word)), None)
    if python is not None:
        words[python] = "python"
    return _joined(words)


def _joined(words: Iterable[str]) -> str:
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """Return a word as a shell takes it; what cannot be seen in it is spelt out."""
    if word.isprintable():
        return shlex.quote(word)
    spelt = (f"\\{c}" if c in "\\'" else c if c.isprintable() else _escaped(c) for c in word)
    return f"$'{''.join(spelt)}'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogatepass"))


def _run_alone(meta: _Meta, folder: Path) -> str | None:
    """Return a line that runs a configuration again, in the folder where the launch was started.

    ``None`` where the function cannot be imported by its name.
    """
    root = json.dumps(os.path.realpath(folder.parent))
    load = f"run = ResultAnalyzer({root}).reproduce({json.dumps(folder.name)})"
    if words := recorded_words(meta.function):
        call = f"ExperimentPipeline({root}, run.config).run(command={json.dumps(words)})"
        lines = ["from ztxexp import ExperimentPipeline, ResultAnalyzer", load, call]
        return None if any(MASK in word for word in words) else _python_line(lines)
    module, _, name = (meta.function or "").partition(":")
    path, ending = os.path.splitext(meta.function_file or "")
    if ending != ".py" or not all(map(str.isidentifier, name.split("."))):
        return None
    if module == "__main__":
        option = _MODULE_OPTION.search(meta.command or "")
        module = option[1] if option else os.path.basename(path)
    top = "" if os.path.isabs(path) else "/"
    path = f"{top}{path}".replace(os.sep, "/").removesuffix("/__init__")
    above = path.removesuffix("/" + module.replace(".", "/"))
    if above == path:  # as of a package's __main__.py
        return None
    import_folder = os.path.relpath(above[1:] or ".", meta.git_folder or ".") if top else above
    lines = [
        "from ztxexp import ExpRunner, ResultAnalyzer",
        load,
        f"ExpRunner([run.config], {root}).run(run.load_function({json.dumps(module)}))",
    ]
    if import_folder != ".":
        lines.insert(0, f"import sys; sys.path.insert(0, {json.dumps(import_folder)})")
    return _python_line(lines)


def _python_line(lines: Iterable[str]) -> str:
    return f"python -c {_quoted('; '.join(lines))}"
