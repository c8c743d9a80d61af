"""The task and the module of the example library."""

from .hello_world import HelloWorldModule, HelloWorldTask

__all__ = ["HelloWorldModule", "HelloWorldTask"]
