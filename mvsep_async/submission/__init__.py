"""Making a job at the service, exactly once, whatever becomes of the answer."""
