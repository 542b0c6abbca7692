"""Keeping a results root in order: looking for damage, mending it, deleting runs."""
