"""What a sequence is: pure functions on Arrow and NumPy data, sorted by user and order.

Nothing here knows Spark, files or the clock. The batch job, the trainer and serving all call this
one implementation.
"""
