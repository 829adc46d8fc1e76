"""The ranker's raw sequences: alignment by recency against a loop, and the gated sum."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.models.cmsl.sequences import GatedSum, aligned, latest


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=4),
    st.integers(1, 7),
    st.integers(6, 8),
)
def test_newest_events_stand_on_the_newest_place(
    drawn: list[tuple[int, int]], length: int, width: int
) -> None:
    """``drawn`` holds each prefix's end and how many of its events are in the strand."""
    ends = torch.tensor([end for end, _ in drawn])
    strands = torch.full((len(drawn), 1, width), -1, dtype=torch.int32)
    expected_latest, expected = [], []
    for n, (end, size) in enumerate(drawn):
        own = list(range(end))[::2][-size:] if size else []
        strands[n, 0, width - len(own) :] = torch.tensor(own, dtype=torch.int32)
        here = min(end, length)
        expected_latest.append(list(range(end - here, end)) + [-1] * (length - here))
        kept = own[-here:] if here else []
        expected.append([-1] * (here - len(kept)) + kept + [-1] * (length - here))
    assert latest(ends, length)[:, 0].tolist() == expected_latest
    assert aligned(strands, ends, length)[:, 0].tolist() == expected


def test_sum_of_gated_tokens() -> None:
    torch.manual_seed(0)
    layer = GatedSum(4, 2)
    events, row = torch.randn(3, 5, 4), torch.tensor([2, 0])
    places = torch.tensor([[[0, 1, -1], [-1, 4, -1]], [[2, 3, 4], [-1, -1, -1]]])
    found = layer(events, places, row)
    for n in range(2):
        for at in range(3):
            expected = torch.zeros(4)
            for which in range(2):
                place = int(places[n, which, at])
                if place >= 0:
                    token = events[row[n], place] + layer.which[which]
                    expected = expected + layer.gate(token).sigmoid() * token
            torch.testing.assert_close(found[n, at], expected)
