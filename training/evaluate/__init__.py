"""Offline evaluation: full ranking, candidates, slices, paired statistics, tables and plots."""
