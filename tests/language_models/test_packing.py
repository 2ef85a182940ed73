"""Blocks show every query what it sees, all of it once, and nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.language_models.test_forest import random_forest

from descentcast.language_models import _packing
from descentcast.language_models._packing import Blocks, in_order, lineage


def test_lineage_by_hand():
    np.testing.assert_array_equal(
        lineage(np.array([-1, 0, 1, 0, -1])),
        [[0, -1, -1], [0, 1, -1], [0, 1, 2], [0, 3, -1], [4, -1, -1]],
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    nodes=st.integers(1, 60),
    size=st.integers(1, 20),
    spread=st.integers(0, 12),
    window=st.one_of(st.none(), st.integers(1, 20)),
)
def test_blocks_show_prefix_and_ancestors_once(seed, nodes, size, spread, window):
    forest = random_forest(np.random.default_rng(seed), 20, nodes)
    paths = lineage(forest.parents)
    order = in_order(forest.prefix, paths)
    place = np.argsort(order)
    assert all(place[p] < place[i] for i, p in enumerate(forest.parents) if p >= 0)
    rows = np.where(paths[order] >= 0, place[paths[order]], -1)  # a node's row is its place in the order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_packing, "QUERIES_PER_BLOCK", size)
        patch.setattr(_packing, "SPREAD", spread)
        blocks = Blocks(forest.prefix[order], rows)
    assert blocks.members.shape[1] <= size
    assert blocks.tail.shape[1] <= spread
    edges = [0, *(stop for _, stop, _ in blocks.groups)]
    assert [group[:2] for group in blocks.groups] == list(pairwise(edges))
    shared = np.concatenate([np.full(stop - start, rows) for start, stop, rows in blocks.groups])
    sees = blocks.sees(window)
    for query, node in enumerate(order):
        block, within = np.divmod(blocks.places[query], blocks.members.shape[1])
        assert blocks.members[block, within] == query
        chain = [n for n in paths[node] if n >= 0]
        position = forest.prefix[node] + len(chain)
        assert blocks.positions[query] == position
        keys = [("prompt", p, p) for p in range(forest.prefix[node] + 1)]
        keys += [("node", place[n], forest.prefix[node] + 1 + depth) for depth, n in enumerate(chain)]
        tail, branch = np.split(sees[block, within], [blocks.tail.shape[1]])
        found = [("prompt", p) for p in blocks.tail[block][tail]] + [("node", r) for r in blocks.rows[block][branch]]
        reach = window or 1 << 20
        # What all of a block share is masked where attention is computed, so here only what is not shared is held.
        expected = [(k, r) for k, r, at in keys if position - at < reach and not (k == "prompt" and r < shared[query])]
        assert sorted(found) == sorted(expected)
        assert shared[query] <= forest.prefix[node] + 1
