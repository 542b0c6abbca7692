"""What goes in: parameters become a list of configurations, each taken or left out by rule."""
