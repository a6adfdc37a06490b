"""What a job is: asked for, known, under way, over; and the one place where it changes."""
