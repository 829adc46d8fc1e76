"""The end of ``make demo``: what the tables found and which model won, on one screen."""
