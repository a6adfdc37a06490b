from tests.transport.conftest import http

__all__ = ["http"]
