"""What it takes to have a run again.

Found out in ``retracing``, which is imported when it is asked for: nothing else of the analysis
needs git and hashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ztxexp.analysis.reproduction import Reproduction


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
