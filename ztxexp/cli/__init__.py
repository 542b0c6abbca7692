"""The command line: a file per command, which ``main.py`` lists."""
