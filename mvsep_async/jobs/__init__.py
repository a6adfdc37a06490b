"""One separation from the local queue to files on disk."""
