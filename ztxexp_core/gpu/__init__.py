"""Which GPUs there are, which the user means, and who gets one when."""
