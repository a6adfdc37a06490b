"""What the service can do: algorithms by name, their options checked, their stems and their price."""
