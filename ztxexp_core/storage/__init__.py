"""Runs on disk: their folders and files, who is at work on one, all of a root at once."""
