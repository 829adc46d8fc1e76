import torch

from tests.features.tagged import history
from tests.training.rows import rows_of
from training.layers.embed import EventEmbedding, Sizes, session_opens
from training.layers.gather import gather_events, recent_places
from training.layers.query import QueryHead, read_states

SIZES = Sizes(items=20, categories=9, types=6, modes=6)


def rows():
    one = history([(1_000_000, at in (2, 3), 2 + at % 3, 1 + at % 4, 2) for at in range(6)])
    return rows_of([one, one[:3]])


def test_events_are_normalised_sums_of_their_embeddings():
    found = rows()
    embed = EventEmbedding(SIZES, 8).eval()
    out = embed(found)
    opens = [[True, False, True, True, False, False], [True, False, True]]
    for b, flags in enumerate(opens):
        for p, flag in enumerate(flags):
            total = (
                embed.item.weight[found.item[b, p]]
                + embed.category.weight[found.category[b, p]]
                + embed.event_type.weight[found.type[b, p]]
                + embed.mode.weight[found.mode[b, p]]
            )
            total = total + embed.opens if flag else total
            expected = (total - total.mean()) / (total.var(unbiased=False) + embed.norm.eps).sqrt()
            torch.testing.assert_close(out[b, p], expected)


def test_opens_marks_the_first_place_of_each_session():
    session = torch.tensor([[3, 3, 4, 6, 6, 0]])
    assert session_opens(session).tolist() == [[True, False, True, True, False, True]]


def test_padding_is_zero_and_stays_it():
    embed = EventEmbedding(SIZES, 8)
    embed(rows()).sum().backward()
    assert (embed.item_vectors()[0] == 0).all() and (embed.item.weight.grad[0] == 0).all()


def test_states_are_read_at_the_end_or_the_start():
    states, start = torch.randn(2, 4, 3), torch.randn(3)
    read = read_states(states, start, torch.tensor([0, 1, 1]), torch.tensor([4, 0, 1]))
    assert torch.equal(read, torch.stack([states[0, 3], start, states[1, 0]]))


def test_gathered_events_are_the_last_before_the_end():
    x = torch.randn(2, 5, 3)
    places = recent_places(torch.tensor([4, 1]), 2)
    events, valid = gather_events(x, torch.tensor([1, 0]), places)
    assert torch.equal(events[0], x[1, 2:4])
    assert torch.equal(events[1, 1], x[0, 0])
    assert valid.tolist() == [[True, True], [False, True]]


def test_the_query_meets_the_state():
    """The query must be able to change which item scores best by history, not shift all alike."""
    torch.manual_seed(0)
    head = QueryHead(8).eval()
    states = torch.randn(2, 8)
    gap = torch.tensor([0, 0], dtype=torch.int8)
    shift = head(states, gap, torch.tensor([True, True])) - head(states, gap, torch.tensor([False, False]))
    assert not torch.allclose(shift[0], shift[1], atol=1e-4)


def test_one_query_serves_several_states():
    head = QueryHead(8).eval()
    states = torch.randn(3, 4, 8)
    gap, opens = torch.tensor([1, 5, 31], dtype=torch.int8), torch.tensor([True, False, True])
    found = head(states, gap, opens)
    for e in range(4):
        torch.testing.assert_close(found[:, e], head(states[:, e], gap, opens))
