"""One run on disk: its folder and files, and who is at work on it."""
