"""MoS, Mixture of Sequence (arXiv 2604.20858), as far as its abstract and a digest tell; see PAPERS.md."""
