"""Moving audio: bodies that are read while they are sent, files that are written while they arrive."""
