"""Errors that are not one of Python's own."""

from ._evenly import Error, NobodyError

__all__ = ["Error", "NobodyError"]
