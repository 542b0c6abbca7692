"""Checks of a machine and of a results folder: ``ztxexp doctor``."""
