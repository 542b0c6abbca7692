"""Where a launch comes from: commit, patch, packages, code, command line."""
