"""Take the pictures of the documentation: the page of a results root, light, dark, on a phone.

    python examples/digits_sweep.py results_digits
    python web/screenshots.py results_digits docs/images

Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from browsing import launched, opened  # noqa: E402

_MOST = 200_000  # bytes of a picture
_STATE = "#grouped=1&sort=-metrics:accuracy"
# name, state, width, height, scheme, and what stands at the top
_PICTURES: list[tuple[str, str, int, int, str, str | None]] = [
    ("report-light", _STATE, 1280, 1180, "light", None),
    ("report-dark", _STATE, 1280, 1180, "dark", "#curves"),
    ("report-phone", _STATE, 390, 844, "light", None),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="results root")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        root = Path(given.root).resolve()
        command = [sys.executable, "-m", "ztxexp", "report", "-C", root.name, "-o", str(path)]
        subprocess.run(command, cwd=root.parent, check=True, capture_output=True)
        browsers = launched()
        browser = next(browsers)
        for name, state, width, height, scheme, top in _PICTURES:
            address = path.as_uri() + state
            with opened(browser, address, width, height, color_scheme=scheme) as page:
                target = given.folder / f"{name}.png"
                _draw_all(page)
                if top is not None:
                    page.evaluate("top => document.querySelector(top).scrollIntoView()", top)
                page.wait_for_timeout(400)
                page.screenshot(path=str(target))
                size = target.stat().st_size
                print(f"{target}: {size:,} bytes{' (too large)' if size > _MOST else ''}")
        next(browsers, None)


def _draw_all(page: Any) -> None:
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(300)


if __name__ == "__main__":
    main()
