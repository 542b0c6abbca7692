"""Tables for papers: means over seeds that say what they are, and can be checked later.

:mod:`ztxexp.tables.model` says what a table is and how its cells read; :mod:`ztxexp.tables.making`
fills it from runs.
"""
