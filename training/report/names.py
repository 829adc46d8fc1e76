"""Names of codes for people: the source's ids, and themes by the categories that their events have."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from features.codes import FIRST_INDEX, UNKNOWN
from training.batch import Batch
from training.vocabulary import TrainVocabulary

READ_BATCHES = 40
"""Batches whose events name the themes (our choice)."""


@dataclass(frozen=True)
class Names:
    """Every text comes from the source and is nobody's markup: pages must escape it."""

    vocabulary: TrainVocabulary
    categories: Mapping[tuple[str, int], Sequence[int]] = field(default_factory=dict)  # of themes and codes

    def item(self, code: int) -> str:
        """The source's id of an item; items without a code of their own share one name."""
        return self._id("items", code) or "an item the model does not know"

    def category(self, code: int) -> str:
        """The source's id of a category."""
        return self._id("categories", code) or "no known category"

    def category_of(self, item: int) -> str | None:
        """An item's main category; None where the source has none."""
        code = int(self.vocabulary.item_category[item])
        return self._id("categories", code)

    def type(self, code: int) -> str:
        """The source's name of an event type."""
        return self._id("types", code) or "event"

    def key(self, family: str, code: int) -> str:
        """A theme, a code of the model's own, or a category, with what its events are about."""
        if code < FIRST_INDEX:
            return "no theme"
        if family == "category":
            return f"category {self.category(code)}"
        at = code - FIRST_INDEX
        known = family == "theme" and at < len(self.vocabulary.themes)
        name = f"theme {self.vocabulary.themes[at]}" if known else f"code {at}"
        about = [self.category(one) for one in self.categories.get((family, code), ())]
        return f"{name} ({', '.join(about)})" if about else name

    def _id(self, kind: str, code: int) -> str | None:
        ids = self.vocabulary.ids.get(kind, ())
        if code < FIRST_INDEX:
            return None
        return ids[code] if code < len(ids) else f"code {code}"  # a vocabulary without the source's ids


def names_of(vocabulary: TrainVocabulary, tagged: Mapping[str, Sequence[Batch]]) -> Names:
    """Names with the two most frequent categories of each theme's events, by family of tags.

    ``tagged`` holds batches whose ``session_theme`` has the family's codes.
    """
    counts: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for family, batches in tagged.items():
        for batch in batches[:READ_BATCHES]:
            rows = batch.rows
            pairs = zip(rows.session_theme.flatten().tolist(), rows.category.flatten().tolist(), strict=True)
            for (theme, category), times in Counter(pairs).items():
                if theme >= FIRST_INDEX and category > UNKNOWN:
                    counts[family, theme][category] += times
    return Names(
        vocabulary, {key: [code for code, _ in found.most_common(2)] for key, found in counts.items()}
    )
