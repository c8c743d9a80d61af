"""The server: bytes in, bytes out. `serve` starts it."""

from kitfox.server.launch import serve

__all__ = ["serve"]
