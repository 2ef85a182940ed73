"""Contexts drawn ahead by other processes are those that would be drawn here, in the same order."""

from itertools import islice

import torch
from training.contexts import Prior
from training.drawn_ahead import Batches


def test_batches_are_the_same_whoever_draws_them():
    source = Batches(Prior(), 3, 300)
    here, ahead = (iter(source.from_number(5, workers, pinned=False)) for workers in (0, 2))
    for one, other in islice(zip(here, ahead, strict=True), 12):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert torch.equal(next(here)[0], source[17][0])
