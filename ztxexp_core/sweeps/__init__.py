"""Many runs: planned, checked, handed out to an executor, settled with the disk, summed up."""
