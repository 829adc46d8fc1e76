"""The data of a run as MLflow's dataset inputs: the table at its version, once for each window."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mlflow.data.dataset import Dataset
from mlflow.data.delta_dataset_source import DeltaDatasetSource

from training.published import SEQUENCES


class WindowDataset(Dataset):
    """The targets of one window of a sequence table at a Delta version; nothing of it is read."""

    def __init__(self, table: Mapping[str, Any], start: str | None, end: str) -> None:
        """``table`` as in ``run.json``; targets from ``start`` (None: the first) to before ``end``."""
        self._window = {
            "start": start,
            "end": end,
            "publication": table["publication"],
            "rows": table["rows"],
        }
        # As text: MLflow takes version 0 for none at all.
        source = DeltaDatasetSource(path=table["path"], delta_table_version=str(table["version"]))  # type: ignore[arg-type]
        super().__init__(source, name=SEQUENCES)

    def _compute_digest(self) -> str:
        text = json.dumps([self.source.to_dict(), self._window], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def profile(self) -> dict[str, Any]:
        """The window, and the rows of the whole version."""
        return self._window

    @property
    def schema(self) -> None:
        """None: the shapes are declared in ``ops/published``."""
        return None

    def to_dict(self) -> dict[str, str]:
        """Name, digest, source and profile as MLflow keeps them."""
        return super().to_dict() | {"profile": json.dumps(self.profile)}


def inputs(origin: Mapping[str, Any]) -> dict[str, WindowDataset]:
    """Context -> data set of a run, from its ``run.json``."""
    table, splits = origin["table"], origin["splits"]
    train_end, valid_end, end = splits["train_end"], splits["valid_end"], splits["end"]
    return {
        "train": WindowDataset(table, None, train_end),
        "validation": WindowDataset(table, train_end, valid_end),
        "test": WindowDataset(table, valid_end, end),
    }
