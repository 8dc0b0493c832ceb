"""Errors that are not one of Python's own."""


class Error(Exception):
    """Whatever `evenly` raises that no error of Python's own says."""
