"""What comes out: tables, curves, and answers about many runs."""
