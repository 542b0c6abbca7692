"""``python -m ztxexp``: the command line."""

import sys

from ztxexp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
