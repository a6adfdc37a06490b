"""Poll the jobs at the service: when to poll, what the responses mean, and estimated progress between polls."""
