import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from training.models.mos.codebook import Codebook


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6))
def test_moving_averages_equal_a_loop(seed, steps):
    draw = torch.Generator().manual_seed(seed)
    book = Codebook(3, 4, decay=0.9)
    total, count, idle = torch.zeros(3, 4), [0.0] * 3, [0] * 3
    for _ in range(steps):
        z = normalize(torch.randn(5, 4, generator=draw), dim=1)
        code = torch.randint(3, (5,), generator=draw)
        where = torch.rand(5, generator=draw) < 0.6
        book.update(z, code, where)
        for k in range(3):
            own = [z[m] for m in range(5) if where[m] and code[m] == k]
            total[k] = 0.9 * total[k] + 0.1 * sum(own, torch.zeros(4))
            count[k] = 0.9 * count[k] + 0.1 * len(own)
            idle[k] = 0 if own else idle[k] + 1
    torch.testing.assert_close(book.total, total)
    torch.testing.assert_close(book.count, torch.tensor(count))
    assert book.idle.tolist() == idle
    expected = torch.stack([t / t.norm() if t.norm() else t for t in total])
    torch.testing.assert_close(book.vectors(), expected)


def test_nearest_is_by_angle_and_never_an_unused_code():
    book = Codebook(3, 2)
    book.update(torch.tensor([[5.0, 0.0], [0.0, 0.1]]), torch.tensor([0, 1]), torch.ones(2).bool())
    asked = torch.tensor([[0.9, 1.0], [1.0, 0.9], [-1.0, -2.0]])
    assert book.nearest(asked).tolist() == [1, 0, 0]  # code 2, at 0, would win the last by cosine 0


EAST, NORTH, UP = torch.eye(3)


def chosen(*vectors, times=1):
    """A book of 4 codes, the first of which were chosen by those vectors, each time."""
    book = Codebook(4, 3)
    for _ in range(times):
        book.update(torch.stack(vectors), torch.arange(len(vectors)), torch.ones(len(vectors)).bool())
    return book


def test_codes_that_were_never_used_move_at_once_and_no_two_onto_one_vector():
    """Three dead codes, offered two vectors apart from the living one, each of them several times."""
    torch.manual_seed(0)
    book = chosen(EAST, times=7)
    before = book.vectors()[0]
    z = torch.stack([EAST, NORTH, NORTH, UP, UP, UP, -EAST])
    book.revive(z, torch.arange(7) < 6, after=200)
    assert torch.equal(book.vectors()[0], before)
    moved = {tuple(vector) for vector in book.vectors()[1:].tolist()}
    assert moved == {tuple(NORTH.tolist()), tuple(UP.tolist()), (0, 0, 0)}  # -EAST is not offered
    assert sorted(book.idle.tolist()) == [0, 0, 0, 7]  # the last one stays dead
    assert book.nearest(NORTH) != book.nearest(UP)


def test_used_codes_are_dead_after_so_many_idle_updates():
    book = chosen(EAST, NORTH, UP, -UP)
    for _ in range(7):
        book.update(torch.stack([EAST, NORTH, UP]), torch.arange(3), torch.ones(3).bool())
    west = -EAST[None]
    book.revive(west, torch.ones(1).bool(), after=8)
    assert book.idle.tolist() == [0, 0, 0, 7]
    torch.testing.assert_close(book.vectors()[3], -UP)
    book.revive(west, torch.ones(1).bool(), after=7)
    assert book.idle.tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(book.vectors()[3], west[0])


def test_vectors_are_drawn_by_their_squared_distance():
    """2 (1 - cos) of a unit vector to the nearest code, as in k-means++."""
    book = Codebook(2, 3)
    z = torch.stack([EAST, torch.tensor([0.5, 0.75**0.5, 0]), NORTH, -EAST])
    share = torch.tensor([0.0, 0.5, 1.0, 2.0])
    draws = torch.zeros(4)
    torch.manual_seed(0)
    for _ in range(3000):
        book.total.zero_()
        book.count.zero_()
        book.update(EAST[None], torch.zeros(1).long(), torch.ones(1).bool())
        book.revive(z, torch.ones(4).bool(), after=200)
        draws[(z @ book.vectors()[1]).argmax()] += 1
    torch.testing.assert_close(draws / 3000, share / share.sum(), atol=0.03, rtol=0)


def test_nothing_is_revived_from_nothing():
    book = Codebook(2, 3)
    book.idle += 500
    book.revive(torch.randn(4, 3), torch.zeros(4).bool(), after=200)
    assert (book.count == 0).all() and (book.idle == 500).all()


def test_codes_are_chosen_in_full_precision():
    """float16: bfloat16 products crash on sandboxed CPUs that announce AMX and forbid it."""
    torch.manual_seed(0)
    book, z = Codebook(64, 16), normalize(torch.randn(4000, 16), dim=1)
    book.update(torch.randn(64, 16), torch.arange(64), torch.ones(64).bool())
    plain = book.nearest(z)
    narrow = (z.half() @ book.vectors().half().T).argmax(-1)
    assert (plain != narrow).any()
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(book.nearest(z), plain)


def test_no_gradient_and_no_parameter():
    book = Codebook(2, 3)
    z = torch.randn(4, 3, requires_grad=True)
    book.update(z, torch.tensor([0, 1, 1, 0]), torch.ones(4).bool())
    assert not list(book.parameters()) and not book.total.requires_grad


TWO = """
import sys, torch
from torch import distributed
from training.models.mos.codebook import Codebook
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(rank)
book = Codebook(3, 4)
for step in range(3):
    z = torch.full((2, 4), float(rank + 1 + step))
    book.update(z, torch.tensor([0, rank]), torch.ones(2).bool())
book.revive(torch.randn(5, 4), torch.ones(5).bool(), after=3)
torch.save((book.total, book.count, book.idle), sys.argv[3])
"""


@pytest.mark.slow
def test_processes_keep_one_codebook(tmp_path):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(rank), str(tmp_path / "store"), str(tmp_path / f"{rank}")]
        )
        for rank in range(2)
    ]
    assert [process.wait(120) for process in running] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}", weights_only=True) for rank in range(2))
    for mine, other in zip(first, second, strict=True):
        assert torch.equal(mine, other)
    alone = Codebook(3, 4)
    for step in range(3):
        both = torch.cat([torch.full((2, 4), float(rank + 1 + step)) for rank in range(2)])
        alone.update(both, torch.tensor([0, 0, 0, 1]), torch.ones(4).bool())
    torch.testing.assert_close(first[0][:2], alone.total[:2])
    assert (first[1][2] > 0) and (first[2] == 0).all()  # the dead one was revived, alike


def test_decay_is_checked():
    with pytest.raises(ValueError, match="decay"):
        Codebook(2, 3, decay=1.0)
