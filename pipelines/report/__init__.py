"""One HTML file a build: whether the data is good, whether hopping is real in it, and single users."""

from typing import Final

FOLDER: Final = "reports"
"""Where reports lie under a warehouse; they show single users, so an erasure removes them."""
