"""Even load and exact caches: `evenly.cache`, `evenly.balancers`, `evenly.redis`, and the decorator `cached`."""

from . import balancers, cache
from ._errors import Error
from ._memo import cached
from ._version import __version__

__all__ = ["Error", "__version__", "balancers", "cache", "cached"]
