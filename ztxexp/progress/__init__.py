"""How a sweep is going: counted, timed, and shown."""
