"""The application as Envoy imports it: with an event loop that quick calls do without."""

from kitfox.server._thread_loop import install
from kitfox.server.app import app

__all__ = ["app"]

install()
