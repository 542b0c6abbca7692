"""A sweep as it is written, on a command line or in a file: :class:`SweepSpec`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ztxexp.configs.builder import ConfigBuilder
from ztxexp.configs.distributions import Distribution
from ztxexp.sweeps import options as kinds
from ztxexp.sweeps.bases import (
    base_of,
    check_keys,
    known_names,
    warn_kinds,
    without_keys,
)
from ztxexp.sweeps.blocks import Block, blocks_of, is_drawn, overridden
from ztxexp.sweeps.files import Document, read_document
from ztxexp.sweeps.lines import beside, relative_to
from ztxexp.sweeps.options import OPTIONS, Step
from ztxexp.sweeps.steps import (
    Shared,
    add_condition,
    add_expander,
    add_steps,
    check_count,
    check_draws,
    check_zip,
    parents_of,
)
from ztxexp.sweeps.writing import document_text
from ztxexp_core.errors import ConfigError, closest

if TYPE_CHECKING:
    from typing_extensions import Self

_RUN_ARGUMENTS = (
    "mode", "workers", "options", "allow_duplicates", "fresh_process", "gpus", "runs_per_gpu",
    "gpus_per_run", "gpu_memory_free", "max_failures", "max_failures_in_a_row", "progress",
    "record_diff", "workdir", "pass_env", "needs", "detach",
)  # fmt: skip
_RUN_TIMES = ("timeout", "tracker_timeout", "flush_sec")


@dataclass(frozen=True)
class SweepSpec:
    """Everything that ``ztxexp run`` can be told about a sweep, and that a sweep file can hold.

    Attributes:
        run: the function, ``train.py:train`` or ``package.module:train``.
        command: or the words of a command with ``{key}``.
        base: what every configuration starts from; it counts over base files.
        base_files: files of base configurations, of which the later wins; a mapping among them
            stands for a file.
        blocks: what is swept; the results of several are a union.
        zip: groups of keys whose values go together.
        where: conditions that a configuration has to meet.
        without: keys of the base that are left out.
        expand: further expanders, in their order.
        draws, draw_seed: how often distributions are drawn, and from which seed.
        shuffle: the seed of an order at random; true for any order.
        source: the file that it was read from; it does not count in a comparison.

    The others are the options of ``ztxexp run`` with the same names; what is ``None`` was not
    given.

    Example:
        >>> spec = SweepSpec.from_words(["lr=1e-3,1e-2", "seed=0..4"], run="train.py:train")
        >>> spec.apply(ExpManager()).build()[0]
        {'lr': 0.001, 'seed': 0}
    """

    run: str | None = None
    command: tuple[str, ...] | None = None
    base: Mapping[str, Any] | None = None
    base_files: tuple[str | Mapping[str, Any], ...] | None = None
    blocks: tuple[Block, ...] = ()
    zip: tuple[tuple[str, ...], ...] | None = None
    where: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None
    expand: tuple[Step, ...] | None = None
    draws: int | None = None
    draw_seed: int | None = None
    shuffle: int | bool | None = None
    name: str | None = None
    group: str | None = None
    tags: Mapping[str, str] | list[str] | None = None
    version: str | None = None
    code: str | None = None
    metrics: Mapping[str, str] | None = None
    table: Mapping[str, Any] | None = None
    root: str | None = None
    mode: str | None = None
    workers: int | None = None
    options: Mapping[str, Any] | None = None
    timeout: float | str | None = None
    retry: int | Mapping[str, Any] | None = None
    gpus: Any = None
    runs_per_gpu: int | None = None
    gpus_per_run: int | None = None
    gpu_memory_free: float | None = None
    fresh_process: bool | None = None
    max_failures: int | None = None
    max_failures_in_a_row: int | None = None
    flush_sec: float | str | None = None
    workdir: str | None = None
    pass_env: tuple[str, ...] | None = None
    needs: Mapping[str, Any] | None = None
    detach: bool | None = None
    track: tuple[Step, ...] | None = None
    tracker_timeout: float | str | None = None
    record_diff: bool | None = None
    progress: bool | None = None
    allow_duplicates: bool | None = None
    ignore_keys: tuple[str, ...] | None = None
    metric_pattern: str | None = None
    source: str | None = field(default=None, compare=False)

    # ---- from words and options --------------------------------------------------------------

    @classmethod
    def from_words(cls, words: Sequence[str], **options: Any) -> Self:
        """Take it from the words of a command line.

        Args:
            words: ``key=values``, ``~key``, and a lone ``+`` between blocks.
            **options: any attribute, as it is typed or as a file has it; ``None`` and empty ones
                were not given.

        Raises:
            ConfigError: one of them is wrong.
        """
        return cls().with_words(words).with_options(**options)

    def with_options(self, **given: Any) -> Self:
        """Return it with some options set over its own; ``None`` and empty ones were not given.

        Raises:
            ConfigError: an option that there is not, or a value that cannot be used.
        """
        changes = {}
        for name, value in given.items():
            if name not in OPTIONS:
                raise ConfigError(f"a sweep has no option {name!r}{closest(name, OPTIONS)}")
            if value is None or (not value and isinstance(value, (str, tuple, list, dict))):
                continue
            try:
                changes[name] = OPTIONS[name](value)
            except ConfigError as exc:
                raise ConfigError(f"{_option(name)} {exc}") from exc
        if "run" in changes:
            changes["command"] = None
        elif "command" in changes:
            changes["run"] = None
        if "base_files" in changes and "base" not in changes and (self.base_files or self.base):
            own = () if self.base is None else (self.base,)
            changes["base_files"] = (*(self.base_files or ()), *own, *changes["base_files"])
            changes["base"] = None
        if "base_files" in changes and self.source and not self.base_files:
            # The sweep file has keys of its own choice.
            changes["blocks"] = tuple(
                replace(block, new=frozenset(block.keys)) for block in self.blocks
            )
        if self.where and "where" in changes:
            changes["where"] = (*self.where, *changes["where"])
        return replace(self, **changes)

    def with_words(self, words: Sequence[str]) -> Self:
        """Return it with the words of a command line set over its keys.

        A key is set in every block. ``~key`` takes a key out of the sweep; where the sweep does not
        have it, out of the base.

        Raises:
            ConfigError: a word is wrong, or ``+`` where there are blocks already.
        """
        parts: list[list[str]] = [[]]
        removed: list[str] = []
        for word in words:
            if word == "+":
                parts.append([])
            elif word.startswith("~") and "=" not in word:
                removed.append(word[1:])
            else:
                parts[-1].append(word)
        if any(not key for key in removed):
            raise ConfigError("~ stands before the name of a key, as in ~dropout")
        if len(parts) > 1 and not all(parts):
            raise ConfigError("a + stands between two blocks, as in: opt=adam + opt=sgd lr=1e-1")
        blocks = [Block.of_words(part) for part in parts]
        if not self.blocks:
            own = tuple(blocks) if any(parts) else ()
            without = tuple(dict.fromkeys((*(self.without or ()), *removed)))
            return replace(self, blocks=own, without=without or None)
        if len(parts) > 1:
            raise ConfigError(
                f"+ joins blocks of words, but {self.source or 'the sweep'} has blocks already; "
                "write the new block there"
            )
        swept = {key for block in self.blocks for key in block.keys}
        left = [key for key in removed if key not in swept]
        changed = tuple(overridden(block, blocks[0], removed) for block in self.blocks)
        fixed = any(map(is_drawn, self.blocks)) and not any(map(is_drawn, changed))
        return replace(
            self,
            blocks=changed,
            draws=None if fixed else self.draws,
            draw_seed=None if fixed else self.draw_seed,
            without=tuple(dict.fromkeys((*(self.without or ()), *left))) or None,
        )

    # ---- from and to files -------------------------------------------------------------------

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a sweep file, YAML, TOML or JSON.

        Files that it names are looked for beside it first, then in the working folder.

        Raises:
            ConfigError: it cannot be read, or says what no sweep file can say; with the line.
        """
        document = read_document(path)
        folder = os.path.dirname(document.path)
        spec = cls._of(document.value, document)._moved(lambda inner: beside(inner, folder))
        return replace(spec, source=document.path)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "the sweep") -> Self:
        """Take it from what :meth:`to_dict` returns; files are looked for in the working folder.

        Raises:
            ConfigError: it says what no sweep file can say.
        """
        return cls._of(content, Document(source, content))

    @classmethod
    def _of(cls, content: Any, document: Document) -> Self:
        if not isinstance(content, Mapping):
            raise ConfigError(
                f"{document.path} holds no sweep; write keys such as run: train.py:train and "
                "sweep: {lr: [1e-3, 1e-2]}"
            )
        values: dict[str, Any] = {}
        for name, value in content.items():
            place = document.place(name)
            if name == "sweep":
                values["blocks"] = blocks_of(value, document)
            elif name not in OPTIONS:
                raise ConfigError(f"{place}: {_unknown(name)}")
            elif value is not None:
                key = "base_files" if name == "base" and _names_files(value) else name
                try:
                    checked = OPTIONS[key](value)
                    earlier = values.get(key, ()) if key == "base_files" else ()
                    values[key] = (*earlier, *checked) if key == "base_files" else checked
                except ConfigError as exc:
                    raise ConfigError(f"{place}: {name} {exc}") from exc
        if values.get("run") and values.get("command"):
            raise ConfigError(f"{document.place('command')}: there is a run as well; keep one")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return what a sweep file of it holds; options that were not given are left out."""
        content: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "blocks":
                blocks = [block.in_file() for block in self.blocks]
                if blocks:
                    content["sweep"] = blocks if len(blocks) > 1 else blocks[0]
            elif value is not None and each.name != "source":
                one = each.name in ("where", "base_files") and len(value) == 1
                content[each.name] = value[0] if one else _plain(value)
        return content

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a sweep file, in YAML, TOML or JSON by its name; it reads back equal.

        Raises:
            ConfigError: another suffix, a value that has no form there, a file that cannot be
                written.
        """
        name = os.fspath(path)
        folder = os.path.dirname(name)
        content = self._moved(lambda inner: relative_to(folder, inner)).to_dict()
        text = document_text(name, content)
        try:
            with open(name, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as exc:
            raise ConfigError(f"{name} cannot be written: {exc.strerror or exc}") from exc

    def _moved(self, move: Callable[[str], str]) -> Self:
        """Return it with the paths in it changed."""
        run = self.run
        if run is not None:
            path, colon, function = run.rpartition(":")
            if colon and (path.endswith(".py") or os.sep in path or "/" in path):
                run = f"{move(path)}:{function}"
        return replace(
            self,
            run=run,
            base_files=self.base_files
            and tuple(move(one) if isinstance(one, str) else one for one in self.base_files),
            blocks=tuple(block.moved(move) for block in self.blocks),
        )

    # ---- what it becomes ---------------------------------------------------------------------

    def apply(
        self,
        builder: ConfigBuilder,
        base: Mapping[str, Any] | None = None,
        keys: Collection[str] | None = None,
    ) -> ConfigBuilder:
        """Add the base and the steps to a manager or a pipeline.

        Args:
            builder: what they are added to.
            base: the defaults of a function; base files, ``base`` and the sweep count over them.
            keys: the only keys that there may be; ``None`` for any.

        Returns:
            The builder.

        Raises:
            ConfigError: a key that the base or the function does not have, values that cannot be
                read, files that are not there.
        """
        removed = self.without or ()
        merged, rows, open_files = base_of(self.base_files or (), self.base, base, keys, removed)
        merged = without_keys(merged, removed)
        check_keys(self.blocks, merged, keys, closed=bool(open_files), files=open_files)
        warn_kinds(self.blocks, merged)
        check_draws(self.blocks, self.draws)
        check_zip(self.blocks, self.zip or ())
        check_count(self.sizes(), rows)
        if merged:
            builder.variants([merged])
        for table in rows:
            builder.variants([{**parents_of(row, merged), **row} for row in table])
        names = known_names(merged, rows, self.blocks, keys)
        own = any(block.expand for block in self.blocks) or self.expand
        known = None if own else names
        shared = Shared(merged, self.zip or (), self.draws, self.draw_seed, known)
        if len(self.blocks) == 1:
            add_steps(builder, self.blocks[0], shared)
        elif self.blocks:
            branches = []
            for block in self.blocks:
                branch = ConfigBuilder()
                add_steps(branch, block, shared)
                branches.append(branch)
            builder.chain(*branches)
        for step in self.expand or ():
            add_expander(builder, step)
        for text in self.where or ():
            add_condition(builder, text, known)
        if self.shuffle is not None and self.shuffle is not False:
            builder.shuffle(None if self.shuffle is True else self.shuffle)
        return builder

    def label(self, pipeline: Any) -> None:
        """Give a pipeline name, group, tags, version, retries and trackers."""
        for name in ("name", "group", "tags", "version"):
            value = getattr(self, name)
            if value is not None:
                getattr(pipeline, name)(value)
        if self.retry is not None:
            pipeline.retry(**kinds.retry_arguments(self.retry))
        for step in self.track or ():
            pipeline.track(step.name, **step.options)

    def run_arguments(self) -> dict[str, Any]:
        """Return the arguments of :meth:`ExperimentPipeline.run` that are given.

        Example:
            >>> SweepSpec(workers=2, timeout="1h").run_arguments()
            {'workers': 2, 'timeout': 3600.0}
        """
        given = {name: getattr(self, name) for name in _RUN_ARGUMENTS}
        for name in _RUN_TIMES:
            value = getattr(self, name)
            is_time = isinstance(value, str) and value[:1].isdigit()
            given[name] = kinds.seconds(value) if is_time else value
        return {name: value for name, value in given.items() if value is not None}

    def sizes(self) -> list[dict[str, int]]:
        """Return for each block how many values its keys have, those with one left out.

        Keys that go together are one, ``"a,b"``; so are those that are drawn, with as many values
        as there are draws.

        Example:
            >>> SweepSpec.from_words(["lr=1e-3,1e-2", "seed=0..4", "epochs=3"]).sizes()
            [{'lr': 2, 'seed': 5}]
        """
        sizes = []
        for block in self.blocks:
            size: dict[str, int] = {}
            entries = block.entries()
            drawn = tuple(k for k, entry in entries.items() if isinstance(entry, Distribution))
            groups = [drawn, *block.zip, *(self.zip or ())]
            for key, entry in entries.items():
                group = next((",".join(g) for g in groups if key in g), key)
                if isinstance(entry, Distribution):
                    size[group] = block.draws or self.draws or 0
                elif len(entry) > 1:
                    size[group] = len(entry)
            sizes.append(size)
        return sizes


def _option(name: str) -> str:
    shown = {"draws": "-n", "base_files": "-c", "tags": "--tag", "metrics": "--metric"}
    return shown.get(name, f"--{name.replace('_', '-')}")


def _unknown(name: str) -> str:
    known = ["sweep", *OPTIONS]
    advice = closest(name, known) or f"; known: {', '.join(known)}"
    return (
        f"a sweep file has no key {name!r}{advice}; keys of configurations stand below sweep or "
        "base"
    )


def _names_files(value: Any) -> bool:
    listed = value if isinstance(value, (list, tuple)) else [value]
    return bool(listed) and all(isinstance(item, str) for item in listed)


def _plain(value: Any) -> Any:
    if isinstance(value, Step):
        return value.in_file()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value
