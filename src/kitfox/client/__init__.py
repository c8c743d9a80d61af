"""Calling a runtime from Python: stubs and messages of a library's services."""

from kitfox.client.stubs import ServicePackage, service_package

__all__ = ["ServicePackage", "service_package"]
