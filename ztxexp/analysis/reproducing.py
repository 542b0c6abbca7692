"""What it takes to have a run again. A part of ResultAnalyzer.

Found out in ``retracing``, which is imported when it is asked for: nothing else of the analysis
needs git and hashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ztxexp.analysis.reproduction import Reproduction


class Reproducing:
    """The part of ``ResultAnalyzer`` that says how a run can be had again."""

    results_path: Path

    def reproduce(self, run_id: str) -> Reproduction:
        """Say how a run came about, what differs today, and which commands lead back there.

        Today is the present working folder, its repository and the running Python: call it where
        the run was launched. Nothing is imported, run or written. Of a run with several attempts
        it is the last one; of what 1.0.3 has not recorded it says so. (Since 2.0.)

        Args:
            run_id: the id of a run, or the beginning of one.

        Returns:
            A record that prints, with ``config``, ``commit``, ``patch``, ``command``, ``packages``,
            ``differences``, ``steps`` and more.

        Raises:
            ConfigError: an id that is unknown (the closest one is named) or could be several.

        Example:
            >>> found = ResultAnalyzer("./results_demo").reproduce("20260301_1015")
            >>> print(found)
            >>> found.config["lr"], found.commit
        """
        return reproduce(self.results_path, run_id)


def reproduce(root: str | Path, run_id: str) -> Reproduction:
    """Return what it takes to reproduce a run, see ``ResultAnalyzer.reproduce``.

    Args:
        root: the results root.
        run_id: the id of a run, or the beginning of one.

    Raises:
        ConfigError: an id that is unknown, or could be several.
    """
    from ztxexp.analysis.retracing import retraced

    return retraced(Path(root), run_id)
