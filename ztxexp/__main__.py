"""``python -m ztxexp``: the command line."""

from ztxexp.cli.main import main

if __name__ == "__main__":
    main(prog_name="ztxexp")
