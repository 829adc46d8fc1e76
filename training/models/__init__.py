"""Models that predict the next item, one a file or a package."""
