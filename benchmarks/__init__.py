"""Measurements of the client against its peers, in one run: `python -m benchmarks [NAME...] [--quick]`."""
