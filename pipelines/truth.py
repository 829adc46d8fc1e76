"""Compare a warehouse with the truth that the generator wrote beside its events."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from pipelines.reading import read_published_table


@dataclass(frozen=True)
class TruthScore:
    """How much of the known truth a build found; shares are of the count beside them."""

    sessions_true: int
    sessions_found: int
    sessions_exact: int  # same user, ordinal, start, end and number of events
    theme_sessions: int  # sessions of three or more events with a theme
    theme_ari: float
    hop_decidable: int
    hop_undecided_share: float
    hop_precision: float
    hop_recall: float
    returns_true: int  # true returns among the decidable sessions
    returns_found: int
    return_lag_right: float  # share of the true returns found whose lag is the true one

    def to_json(self) -> dict[str, Any]:
        """The figures as plain numbers."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def to_text(self) -> str:
        """A small table for people."""
        rows = [
            ("sessions exactly right", f"{self.sessions_exact:,} of {self.sessions_true:,}"),
            ("theme ARI, sessions of 3+ events", f"{self.theme_ari:.3f} over {self.theme_sessions:,}"),
            ("hop precision", f"{self.hop_precision:.3f} over {self.hop_decidable:,} decidable"),
            ("hop recall", f"{self.hop_recall:.3f}"),
            ("hops undecided", f"{self.hop_undecided_share:.1%} of sessions after a first one"),
            ("returns found", f"{self.returns_found:,} of {self.returns_true:,} decidable"),
            ("return lags right", f"{self.return_lag_right:.3f} of those found"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def read_sessions(warehouse: str) -> pd.DataFrame:
    """The published sessions' columns that the truth speaks of; WarehouseError without any."""
    columns = ["user_id", "ordinal", "start_ts", "end_ts", "n_events", "theme_id"]
    columns += ["is_hop", "is_return", "return_lag"]
    frame: pd.DataFrame = read_published_table(warehouse, "silver/sessions", columns).to_pandas()
    return frame


def score(truth: pd.DataFrame, found: pd.DataFrame) -> TruthScore:
    """Score found sessions against true ones (columns as the generator and silver/sessions name them)."""
    both = truth.merge(found, on=["user_id", "ordinal"], how="inner", suffixes=("_true", ""))
    exact = (
        (_micros(both["start"]) == _micros(both["start_ts"]))
        & (_micros(both["end"]) == _micros(both["end_ts"]))
        & (both["n_events_true"] == both["n_events"])
    )
    same = both[exact.to_numpy()]
    # Bots have no true theme, and they and first sessions no true hop: nothing to compare with.
    long = same[(same["n_events"] >= 3) & (same["theme_id"] >= 2) & same["theme"].notna()]
    later = same[(same["ordinal"] > 1) & same["is_hop_true"].notna()]
    decided = later[later["is_hop"].notna()]
    hop, true_hop = decided["is_hop"].astype(bool).to_numpy(), decided["is_hop_true"].astype(bool).to_numpy()
    true_return = decided["is_return_true"].astype(bool).to_numpy()
    found_return = (decided["is_return"] == True).to_numpy() & true_return  # noqa: E712
    lags = decided[found_return]
    return TruthScore(
        sessions_true=len(truth),
        sessions_found=len(found),
        sessions_exact=len(same),
        theme_sessions=len(long),
        theme_ari=float(adjusted_rand_score(long["theme"], long["theme_id"])),
        hop_decidable=len(decided),
        hop_undecided_share=float(1 - len(decided) / max(len(later), 1)),
        hop_precision=_ratio((hop & true_hop).sum(), hop.sum()),
        hop_recall=_ratio((hop & true_hop).sum(), true_hop.sum()),
        returns_true=int(true_return.sum()),
        returns_found=int(found_return.sum()),
        return_lag_right=_ratio((lags["return_lag"] == lags["return_lag_true"]).sum(), len(lags)),
    )


def _micros(times: "pd.Series[Any]") -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Times of any resolution and zone as µs since the epoch."""
    utc = pd.to_datetime(times, utc=True)
    return np.asarray(utc.dt.tz_localize(None).astype("datetime64[us]").astype("int64"))


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")
