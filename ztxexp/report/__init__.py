"""One HTML file with the runs of a root, which opens without any network."""
