"""Installed plugins listed and inspected, and new plugin packages begun."""
