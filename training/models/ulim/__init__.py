"""ULIM: category-wise long-term interests, a short-term interest and cascaded retrieval.

Source: ULIM (arXiv 2507.10097), read through PAPERS.md; what it leaves open is marked "our choice".
"""
