"""The journal: jobs in an SQLite file, so that they survive the process."""
