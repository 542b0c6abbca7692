"""Tables for papers: means over seeds that say what they are, and can be checked later."""
