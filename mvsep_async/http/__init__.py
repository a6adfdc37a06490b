"""HTTP calls to the service: the request, the rate limit, the answer."""
