"""Batches drawn ahead by other processes: an accelerator takes them faster than one core draws them."""

from itertools import count

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.contexts import Batch, Prior, batch

AHEAD = 4  # batches a worker: long contexts take ten times as long to draw as short ones


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """The batches of a prior, by number.

    Args:
        prior: Where contexts come from.
        seed: Of the prior.
        tokens: Symbols a batch, about.
    """

    def __init__(self, prior: Prior, seed: int, tokens: int) -> None:
        self._what = (prior, seed, tokens)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return symbols and laws of batch number `index`; the same ones whoever draws them."""
        prior, seed, tokens = self._what
        return tensors(batch(prior, seed, index, tokens))

    def from_number(self, first: int, workers: int, pinned: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return what yields batches number `first` and after, in order, without end.

        Args:
            first: Number of the first batch.
            workers: Processes that draw them ahead; 0: they are drawn when they are asked for.
            pinned: Whether they are put where an accelerator copies from.
        """
        ahead = AHEAD if workers else None
        return DataLoader(
            self, batch_size=None, sampler=count(first), num_workers=workers, prefetch_factor=ahead, pin_memory=pinned
        )


def tensors(drawn: Batch) -> tuple[Tensor, Tensor]:
    """Return symbols and laws of a batch."""
    return torch.from_numpy(drawn.symbols), torch.from_numpy(drawn.laws)
