"""Plugins by name: found, checked, loaded, listed, and begun anew."""
