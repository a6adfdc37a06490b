"""A deterministic simulation of a client and its service: virtual time, no sockets, everything drawn from a seed.

`python -m benchmarks.simulation --seed 7` shows the story of one seed; `--seeds 1000` runs many and prints figures.
"""
