"""The service's algorithms: found by name, their options checked, their stems and their price."""
