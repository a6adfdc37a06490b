"""The HTTP transport: connections, sockets and TLS that keep large transfers fast and the event loop responsive."""
