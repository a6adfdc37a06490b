"""Download the results of jobs to files."""
