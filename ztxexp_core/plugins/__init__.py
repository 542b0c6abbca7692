"""Plugins by name: found, checked, loaded."""
