"""The use of slots and the delay of progress under the service's real limits, in virtual time.

    python -m benchmarks.scheduling [--quick]

Three kinds of clients use a discrete-event model of the service: the package's own pure parts (queue, slots, polling
policy, budget, lifecycle), clients that poll at fixed intervals, and an oracle that knows every end when it comes. All
random numbers come from a seed, so two runs print the same.
"""

from benchmarks.scheduling.measure import Goals, Measured, measure

__all__ = ["Goals", "Measured", "measure"]
