"""The model report: which model to trust, and why, in one self-contained HTML file (``features.page``).

``gather`` reads what runs or a grid left and asks the models where they must be; the other modules turn
that into sections without reading anything.
"""
