"""CMSL: constructive multi-sequence learning (arXiv 2606.28533, as digested in PAPERS.md)."""
