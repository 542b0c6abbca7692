"""Words for a terminal, a file or a spreadsheet, and a bar while a person waits."""
