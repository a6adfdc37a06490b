"""Benchmarks of the client and its peers: `python -m benchmarks [NAME...] [--quick]`."""
