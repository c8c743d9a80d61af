"""The application as Envoy imports it: with the thread that takes what Envoy's filter holds."""

from kitfox.server.app import Application

__all__ = ["app"]

app = Application(takes_held=True)
