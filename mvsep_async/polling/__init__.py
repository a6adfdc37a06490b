"""Polling the jobs at the service: when, what the answers mean, and how far a job is between them."""
