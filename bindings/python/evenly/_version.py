"""The version, from the compiled half."""

from . import _evenly

__version__: str = _evenly.VERSION
