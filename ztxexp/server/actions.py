"""What a page may ask for: to stop a launch or a run, and to tag a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp.progress.stopping import stop_launches, stop_run
from ztxexp.results.launches import read_launches
from ztxexp.results.tags import change_tags
from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_core.store.files import known_record
from ztxexp_core.store.run_folder import effective_record, run_names


def checked_run(root: Path, name: object) -> str:
    """Return the name of a run's folder.

    Raises:
        ConfigError: there is no such run.
    """
    if not isinstance(name, str) or name not in run_names(root):
        raise ConfigError("there is no such run")
    return name


def stop(root: Path, asked: Mapping[str, Any]) -> str:
    """Stop what is asked for, and return what came of it, as ``ztxexp stop`` says it.

    Args:
        root: the results root.
        asked: ``{"run": NAME}`` or ``{"launch": ID}``.

    Raises:
        ConfigError: something else is asked for.
        StoreError: it could not be stopped.
    """
    if set(asked) not in ({"run"}, {"launch"}):
        raise ConfigError('a run or a launch is stopped: {"run": NAME} or {"launch": ID}')
    living = [launch for launch in read_launches(root) if launch.alive]
    if "run" in asked:
        name = checked_run(root, asked["run"])
        if not living:
            raise StoreError("nothing to stop: no launch is under way")
        record = effective_record(known_record(f"{root}/{name}/run.json") or {}, f"{root}/{name}")
        if record.get("status") != "running":
            raise StoreError(f"nothing to stop: it has ended ({record.get('status')})")
        answers = [stop_run(root, name, living)]
    else:
        chosen = [launch for launch in living if launch.id == asked["launch"]]
        if not chosen:
            raise StoreError("nothing to stop: that launch is not under way")
        answers = list(stop_launches(root, chosen))
    if not answers:
        raise StoreError("nothing to stop: it has just ended")
    (answer,) = answers
    text = f"{answer.text}\nnext: {answer.next}" if answer.next else answer.text
    if not answer.ok:
        raise StoreError(text)
    return text


def tag(root: Path, asked: Mapping[str, Any]) -> str:
    """Tag a run, and return which tags it has now.

    Args:
        root: the results root.
        asked: ``{"run": NAME, "tags": {"stage": "final", "good": "", "draft": null}}``: an empty
            text sets a word, ``null`` removes a tag.

    Raises:
        ConfigError: something else is asked for, or a tag that cannot be.
        StoreError: the run cannot be written.
    """
    tags = asked.get("tags")
    if set(asked) != {"run", "tags"} or not isinstance(tags, dict) or not tags:
        raise ConfigError('a run is tagged: {"run": NAME, "tags": {"key": "value"}}')
    name = checked_run(root, asked["run"])
    new = {key: None if value == "" else value for key, value in tags.items() if value is not None}
    removed = [key for key, value in tags.items() if value is None]
    now = change_tags(f"{root}/{name}", new, removed)
    return f"tags: {', '.join(now)}" if now else "no tags"
