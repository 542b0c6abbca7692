"""Text for terminals, files and spreadsheets; progress bars while a person waits."""
