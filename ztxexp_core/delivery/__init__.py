"""Delivery of runs to trackers: from the runs' files, while they go on or later."""
