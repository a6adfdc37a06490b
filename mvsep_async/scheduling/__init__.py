"""Schedule jobs: the local queue, the account's slots, and the reaction to each change of a job."""
