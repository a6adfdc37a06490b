"""The service's API, one class a section, one coroutine a call."""
