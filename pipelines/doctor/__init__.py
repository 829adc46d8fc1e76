"""Is this machine ready, and how is what is off mended? Standard library only, for any Python from 3.8.

It is asked before anything is installed, so nothing here may import what set-up brings.
"""
