"""What is learned from sessions, once, and then frozen: item vectors, themes and the hop null.

Start at ``learning.learn``; ``tables`` stores a fit and reads it back. Nothing is imported here: Python
workers import this package, and SciPy or Spark ML would cost each of them seconds.
"""
