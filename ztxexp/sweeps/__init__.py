"""Sweeps as they are written: on a command line, and in files."""
