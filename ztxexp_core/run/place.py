"""Where a script runs: what a worker elsewhere takes over before it loads the experiment.

Workers of this machine are started with the script's ``sys.path``, working folder and variables.
Those of an engine are not, so that they would not find a module beside the script.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ztxexp_core.run.surroundings import working_folder


class Place(NamedTuple):
    """Where a script runs.

    Attributes:
        before: entries of ``sys.path`` in front of the standard library.
        after: those behind it.
        folder: the working folder; ``None`` if it has been deleted.
        variables: environment variables that the user has named.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    folder: str | None = None
    variables: Mapping[str, str] = {}


def present_place(variables: Iterable[str] = ()) -> Place:
    """Return where the present process runs.

    Args:
        variables: names of environment variables to take along; those that are not set are left
            out.
    """
    folder = working_folder()
    entries = [os.path.abspath(each) if each or folder else "" for each in sys.path]
    own = set(sysconfig.get_paths().values())  # every Python has its own
    at = next((i for i, entry in enumerate(entries) if entry in own), len(entries))
    users = [tuple(e for e in part if e and e not in own) for part in (entries[:at], entries[at:])]
    taken = {name: os.environ[name] for name in variables if name in os.environ}
    return Place(users[0], users[1], folder, taken)


def move_to(place: Place) -> None:
    """Set ``sys.path``, working folder and variables of this process as a script has them.

    Folders that do not exist here are left out. The working folder belongs to all threads of a
    process, so it is changed in the main thread only.
    """
    os.environ.update(place.variables)
    before = [each for each in place.before if each not in sys.path and os.path.exists(each)]
    sys.path[:0] = before
    sys.path += [each for each in place.after if each not in sys.path and os.path.exists(each)]
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and place.folder not in (None, working_folder()) and os.path.isdir(place.folder):
        os.chdir(place.folder)
