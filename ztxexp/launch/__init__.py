"""Many runs: planned, checked, given to an executor, compared with the disk, summed up."""
