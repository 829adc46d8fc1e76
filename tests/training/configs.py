"""The configuration of a tiny run on the histories of ``tests.training.gold``."""

from pathlib import Path

SMALL = """
output = "OUTPUT"
log_every = 2

[data]
warehouse = "WAREHOUSE"
train_end = 1970-01-01T00:01:00Z
valid_end = 1970-01-01T00:01:30Z
min_count = 1
max_length = 32
tokens = 128
negatives = 8

[model]
MODEL

[training]
steps = 8

[validation]
every = 4

[hardware]
accelerator = "cpu"
"""

SASREC = "name = 'sasrec'\ndim = 8\nlayers = 1\nheads = 1"


def config_text(warehouse: Path, output: Path, model: str = SASREC) -> str:
    return SMALL.replace("WAREHOUSE", str(warehouse)).replace("OUTPUT", str(output)).replace("MODEL", model)
