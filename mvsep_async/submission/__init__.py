"""Submit jobs: check and queue requests, create each job at the service once, recover lost responses."""
