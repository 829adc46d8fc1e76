"""Packages that take seconds to import, and are wanted only when Spark has started."""

import os
import threading
from importlib import import_module
from typing import Final

SLOW: Final = ("great_expectations", "sklearn.cluster", "sklearn.metrics", "scipy.optimize")
"""Imported inside the functions that use them (``noqa: PLC0415``), so that ``--help`` answers at once;
before a ``threadpool_limits``, which knows only the libraries that are loaded."""


def warm_up() -> None:
    """Import them beside other work: a build waits for the JVM anyway."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import: it must not phone home
    threading.Thread(target=lambda: [import_module(name) for name in SLOW], daemon=True).start()
