"""Rows of several row groups mixed, in memory of a few row groups."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.random import Generator

from training.gold import Block


def mixed(blocks: Iterable[Block], piece: int, open_blocks: int, generator: Generator) -> Iterator[Block]:
    """The blocks' rows, permuted, in pieces of at most ``piece`` rows of one block.

    ``open_blocks`` blocks are in memory; a piece comes from any of them, with a chance in proportion to the
    rows it has left. So long and short rows, which lie in different row groups, alternate, and rows
    that lie together in the table are spread. Every row comes once.
    """
    source = iter(blocks)
    held: list[tuple[Block, np.ndarray[tuple[int], np.dtype[np.int64]]]] = []
    while True:
        while len(held) < open_blocks and (block := next(source, None)) is not None:
            if len(block):
                held.append((block, generator.permutation(len(block))))
        if not held:
            return
        left = np.array([len(rows) for _, rows in held])
        at = int(generator.choice(len(held), p=left / left.sum()))
        block, rows = held[at]
        yield block.take(rows[:piece])
        if len(rows) > piece:
            held[at] = (block, rows[piece:])
        else:
            del held[at]
