"""Jobs: requests, states, progress, public handles, and the registry that alone changes them."""
