"""The data objects of the example library."""

from .hello_world import HelloWorldInput, HelloWorldPrediction, HelloWorldTrainingType

__all__ = ["HelloWorldInput", "HelloWorldPrediction", "HelloWorldTrainingType"]
