"""Whose turn it is: the local queue, the account's slots, and what follows from each change of a job."""
