"""The life of one run, in whichever process it is executed."""
