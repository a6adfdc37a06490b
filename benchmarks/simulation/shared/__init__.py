"""A deterministic simulation of several clients of one account that share a journal."""
