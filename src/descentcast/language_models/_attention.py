"""Attention of a packed pass: over what queries share of a prompt without a mask, over the rest in small blocks.

A softmax over two sets of keys is the average of the softmaxes over each, weighted by their sums of exponentials, so
both are computed apart and merged exactly. No mask is larger than a block of queries by the keys it does not share.

Shapes: K key heads, G query heads a key head, T queries, S keys, D size of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from descentcast.language_models._kept import Rows
from descentcast.language_models._packing import Blocks

# Queries of a prompt that are masked together, where a layer sees a window only.
WINDOWED = 256
# Up to so many prompt rows, the keys of a single block are copied next to each other.
SHORT = 1024
# Finite: a query that sees nothing of one of two sets weighs that set with zero.
NEVER = -1e30
FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def penalty(sees: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return what is added to the scores of keys: nothing where they are seen."""
    seen = torch.as_tensor(sees, device=device)
    return torch.zeros(seen.shape, device=device).masked_fill_(~seen, NEVER)


def attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scale: float,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention, shape (K, G, T, D), and the log-sum-exp of its scores, shape (K, G, T).

    Args:
        queries: Shape (K, G, T, D).
        keys: Shape (K, S, D).
        values: Shape (K, S, D).
        scale: Factor of the scores.
        mask: What `penalty` gives for the keys that each query sees, shape (K or 1, 1, T, S); None: all.
        causal: Query i sees keys 0 .. i; then T == S and there is no mask.
    """
    shape = (-1, queries.shape[1], -1, -1)
    keys, values = keys[:, None].expand(shape), values[:, None].expand(shape)  # strides of zero: no copy a head
    if queries.device.type == "cpu" and queries.shape[-1] == values.shape[-1]:
        mask = None if mask is None else mask.to(queries.dtype)
        return FLASH(queries, keys, values, 0.0, causal, attn_mask=mask, scale=scale)
    scores = (queries @ keys.transpose(-1, -2)).float() * scale
    if causal:
        scores.masked_fill_(torch.ones_like(scores, dtype=torch.bool).triu(1), NEVER)
    if mask is not None:
        scores = scores + mask
    sums = scores.logsumexp(-1)
    return (scores - sums[..., None]).exp().to(values.dtype) @ values, sums


def merge(one: tuple[torch.Tensor, torch.Tensor], two: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return attention over two disjoint sets of keys from what `attend` gives for each."""
    weight = torch.sigmoid(one[1] - two[1])[..., None]
    return two[0].float().lerp(one[0].float(), weight).to(one[0].dtype)


@dataclass(frozen=True, eq=False)
class PromptQueries:
    """Prompt rows start .. stop - 1, computed on top of those before them."""

    rows: Rows
    start: int
    stop: int

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put their keys and values, shape (K, T, D), where they and later queries find them."""
        self.rows.write(layer, self.start, keys, values)

    def read(self, layer: int, queries: torch.Tensor, scale: float, window: int | None) -> torch.Tensor:
        """Return their attention, shape (K, G, T, D); `window`: how many positions a query sees, itself included."""
        keys, values = self.rows.of(layer)
        if window is not None and self.stop > window:
            starts = range(self.start, self.stop, WINDOWED)
            return torch.cat([self._windowed(at, keys, values, queries, scale, window) for at in starts], dim=2)
        own = slice(self.start, self.stop)
        found = attend(queries, keys[:, own], values[:, own], scale, causal=True)
        if self.start == 0:
            return found[0]
        return merge(attend(queries, keys[:, : self.start], values[:, : self.start], scale), found)

    def _windowed(
        self, at: int, keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor, scale: float, window: int
    ) -> torch.Tensor:
        stop, low = min(at + WINDOWED, self.stop), max(0, at - window + 1)
        back = np.arange(at, stop)[:, None] - np.arange(low, stop)
        mask = penalty((back >= 0) & (back < window), keys.device)[None, None]
        some = queries[:, :, at - self.start : stop - self.start]
        return attend(some, keys[:, low:stop], values[:, low:stop], scale, mask)[0]


class BranchQueries:
    """Branch nodes of one prompt, sorted by prefix, parents first; before them, a few prompt rows may be queries too.

    Args:
        prompt: Keys and values of the prompt.
        branches: Keys and values of nodes.
        start: Row of `branches` where those of these nodes go, in order.
        prefix: Last prompt row that each sees, ascending, shape (T,).
        lineage: Rows of `branches` of its ancestors and itself, root first, padded with -1, shape (T, depth + 1).
        rows: The prompt rows that are computed with them; they are the first queries, and their prefixes themselves.
    """

    def __init__(
        self,
        prompt: Rows,
        branches: Rows,
        start: int,
        prefix: np.ndarray,
        lineage: np.ndarray,
        rows: range = range(0),
    ) -> None:
        self._prompt, self._branches, self._start, self._rows = prompt, branches, start, rows
        self._blocks = Blocks(
            np.concatenate([rows, prefix]).astype(np.int64),
            np.pad(lineage, ((len(rows), 0), (0, 0)), constant_values=-1),
        )
        self._masks: dict[int | None, torch.Tensor] = {}
        self._indices: tuple[torch.Tensor, ...] = ()

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put their keys and values, shape (K, T, D), where they and later queries find them."""
        count = len(self._rows)
        if count:
            self._prompt.write(layer, self._rows.start, keys[:, :count], values[:, :count])
        self._branches.write(layer, self._start, keys[:, count:], values[:, count:])

    def read(self, layer: int, queries: torch.Tensor, scale: float, window: int | None) -> torch.Tensor:
        """Return their attention, shape (K, G, T, D); `window`: how many positions a query sees, itself included."""
        if self.size(window):
            return whole([self], layer, queries, scale)
        if window is not None and self._blocks.positions.max() < window:
            window = None
        parts = [
            self._shared(layer, queries[:, :, start:stop], start, shared, scale, window)
            for start, stop, shared in self._blocks.groups
        ]
        if len(parts) == 1:
            ((out, sums),) = parts
        else:
            out, sums = (torch.cat([part[i] for part in parts], dim=2) for i in (0, 1))
        return merge((out, sums), self._own(layer, queries, scale, window))

    def size(self, window: int | None) -> tuple[int, ...]:
        """Return how many queries and keys there are, where they are so few that `whole` is for them; else nothing."""
        blocks = self._blocks
        _, count, shared = blocks.groups[0]
        if len(blocks.rows) > 1 or shared > SHORT or (window is not None and blocks.positions.max() >= window):
            return ()
        return count, shared + blocks.tail.shape[1] + blocks.rows.shape[1]

    def gather(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Copy all keys and values that are seen into tensors of shape (K, S, D)."""
        shared = self._blocks.groups[0][2]
        tail, rows, *_ = self._index(keys.device)
        held = zip((keys, values), self._prompt.of(layer), self._branches.of(layer), strict=True)
        for out, prompt, branches in held:
            torch.cat([prompt[:, :shared], prompt[:, tail], branches[:, rows]], dim=1, out=out)

    def mask(self, device: torch.device) -> torch.Tensor:
        """Return the `penalty` of what was gathered, shape (T, S)."""
        if None not in self._masks:
            shared, sees = self._blocks.groups[0][2], self._blocks.sees(None)[0]
            self._masks[None] = penalty(np.pad(sees, ((0, 0), (shared, 0)), constant_values=True), device)
        return self._masks[None]

    def _index(self, device: torch.device) -> tuple[torch.Tensor, ...]:
        """Return tail, rows, members and places of the blocks, flat; they are the same in every layer."""
        if not self._indices:
            blocks = self._blocks
            indices = (blocks.tail, blocks.rows, blocks.members, blocks.places)
            self._indices = tuple(torch.as_tensor(index.ravel(), device=device) for index in indices)
        return self._indices

    def _shared(
        self, layer: int, queries: torch.Tensor, start: int, shared: int, scale: float, window: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend to prompt rows 0 .. shared - 1, which all of the queries see, as far as their windows reach."""
        keys, values = self._prompt.of(layer)
        low, mask = 0, None
        if window is not None:
            oldest = self._blocks.positions[start : start + queries.shape[2]] - window + 1
            low = min(max(0, int(oldest.min())), shared - 1)
            mask = penalty(np.arange(low, shared) >= oldest[:, None], keys.device)[None, None]
        return attend(queries, keys[:, low:shared], values[:, low:shared], scale, mask)

    def _own(
        self, layer: int, queries: torch.Tensor, scale: float, window: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend to what a block does not see as a whole: the ends of prefixes, ancestors, the nodes themselves."""
        blocks, (heads, per, _, size), device = self._blocks, queries.shape, queries.device
        count = len(blocks.rows)
        tail, rows, members, places = self._index(device)
        keys, values = (
            torch.cat([held[:, at].view(heads, count, -1, size) for held, at in pair], dim=2).flatten(0, 1)
            for pair in (
                ((p, tail), (r, rows)) for p, r in zip(self._prompt.of(layer), self._branches.of(layer), strict=True)
            )
        )
        if window not in self._masks:
            self._masks[window] = penalty(blocks.sees(window), device).repeat(heads, 1, 1)[:, None]
        blocked = queries[:, :, members].view(heads, per, count, -1, size).transpose(1, 2).flatten(0, 1)
        found = attend(blocked, keys, values, scale, self._masks[window])
        out, sums = (t.unflatten(0, (heads, count)).transpose(1, 2).flatten(2, 3)[:, :, places] for t in found)
        return out, sums


def whole(stretches: Sequence[BranchQueries], layer: int, queries: torch.Tensor, scale: float) -> torch.Tensor:
    """Attend to everything at once, stretches of one size together: for a few queries that is less than merging.

    Args:
        stretches: The queries, all of one `size`.
        layer: Number of the layer.
        queries: Theirs, one after the other, shape (K, G, stretches * T, D).
        scale: Factor of the scores.

    Returns:
        Their attention, shape (K, G, stretches * T, D).
    """
    count, heads, size = len(stretches), queries.shape[0], queries.shape[3]
    _, seen = stretches[0].size(None)
    keys = queries.new_empty((count, heads, seen, size))
    values = keys.new_empty(keys.shape)
    for i, stretch in enumerate(stretches):
        stretch.gather(layer, keys[i], values[i])
    mask = torch.stack([stretch.mask(keys.device) for stretch in stretches])
    mask = mask[:, None].expand(-1, heads, -1, -1).flatten(0, 1)[:, None]
    apart = queries.unflatten(2, (count, -1)).permute(2, 0, 1, 3, 4).flatten(0, 1)
    found = attend(apart, keys.flatten(0, 1), values.flatten(0, 1), scale, mask)[0]
    return found.unflatten(0, (count, heads)).permute(1, 2, 0, 3, 4).flatten(2, 3)


@dataclass(frozen=True, eq=False)
class PackedPass:
    """Queries of several prompts in one pass, one stretch of tokens each; what attention needs to know of them."""

    stretches: tuple[PromptQueries | BranchQueries, ...]
    lengths: tuple[int, ...]

    def attention(
        self,
        layer: int,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scale: float,
        window: int | None,
    ) -> torch.Tensor:
        """Return the attention of all tokens.

        Args:
            layer: Its number.
            queries: Shape (1, K * G, tokens, D).
            keys: Shape (1, K, tokens, D).
            values: Shape (1, K, tokens, D).
            scale: Factor of the scores.
            window: How many positions a query sees, itself included; None: all.

        Returns:
            Shape (1, tokens, K * G, D).
        """
        grouped = queries[0].unflatten(0, (keys.shape[1], -1))
        ends = np.cumsum(self.lengths).tolist()
        parts = [slice(end - length, end) for end, length in zip(ends, self.lengths, strict=True)]
        for stretch, part in zip(self.stretches, parts, strict=True):
            stretch.write(layer, keys[0, :, part], values[0, :, part])
        few = [stretch for stretch in self.stretches if isinstance(stretch, BranchQueries)]
        sizes = {stretch.size(window) for stretch in few}
        if len(few) == len(self.stretches) and len(sizes) == 1 and () not in sizes:
            out = whole(few, layer, grouped, scale)
        else:
            outs = [
                stretch.read(layer, grouped[:, :, part], scale, window)
                for stretch, part in zip(self.stretches, parts, strict=True)
            ]
            out = outs[0] if len(outs) == 1 else torch.cat(outs, dim=2)
        return out.flatten(0, 1).transpose(0, 1)[None]
