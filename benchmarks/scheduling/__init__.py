"""How well the slots are used under the service's real limits, in virtual time.

    python -m benchmarks.scheduling [--quick]

A discrete-event model of the service is worked by the package's own pure parts (queue, slots, policy, durations,
budget, lifecycle), by clients that look at fixed intervals, and by an oracle that knows every end when it comes.
Nothing is random but for the seed: two runs print the same.
"""

from benchmarks.scheduling.measure import Goals, Measured, measure

__all__ = ["Goals", "Measured", "measure"]
