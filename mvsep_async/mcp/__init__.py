"""A Model Context Protocol server, with which an assistant separates songs within a credit limit and given folders."""

from mvsep_async.mcp.server import create_server, serve

__all__ = ["create_server", "serve"]
