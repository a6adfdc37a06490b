"""A journal in PostgreSQL that any number of processes and machines share."""
