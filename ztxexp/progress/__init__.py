"""How far a launch is: counted, timed and displayed."""
