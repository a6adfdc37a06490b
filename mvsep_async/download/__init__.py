"""What comes out of a job: which file goes where, and bringing it there."""
