"""What is measured through NumPy against what torch makes of the same parameters in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import descentcast as dc
from descentcast.trajectories.recording import _host

shapes = st.lists(st.lists(st.integers(1, 5), max_size=3).map(tuple), min_size=1, max_size=4)


def flat(tensors) -> np.ndarray:
    return torch.cat([t.detach().double().reshape(-1) for t in tensors]).numpy()


@given(shapes, st.sampled_from([torch.float32, torch.float64]), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_norms_and_distances_of_any_shapes_in_any_blocks(given_, dtype, block):
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=draw, dtype=dtype) for shape in given_]
    for tensor in tensors[1:]:
        tensor.grad = torch.randn(tensor.shape, generator=draw, dtype=dtype)
    assert _host.on_host(tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_host, "BLOCK", block)
        arrays = _host.HostArrays(tensors, _host.blocks)
        starts = [a.copy() for a in arrays()]
        assert max(a.size for a in starts) <= block
        np.testing.assert_allclose(_host.norm(arrays()), np.linalg.norm(flat(tensors)), rtol=1e-6)
        gradients = _host.HostGradients(tensors)()
        assert gradients is not None
        expected = np.linalg.norm(flat([t.grad for t in tensors[1:]])) if tensors[1:] else 0.0
        np.testing.assert_allclose(_host.norm(gradients), expected, rtol=1e-6)
        before = flat(tensors)
        for tensor in tensors:
            tensor.add_(torch.randn(tensor.shape, generator=draw, dtype=dtype))
        found = _host.distance(arrays(), starts, [np.empty_like(a) for a in starts])
        np.testing.assert_allclose(found, np.linalg.norm(flat(tensors) - before), rtol=1e-6)


def test_parameters_that_are_given_other_memory_are_followed():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    start, expected = flat(model.parameters()), []
    with dc.record(optimizer, model, ["parameter_norm", "distance", "projection:2"]) as recorder:
        for i in range(4):
            now = flat(model.parameters())
            expected.append([np.linalg.norm(now), np.linalg.norm(now - start)])
            optimizer.zero_grad()
            model(torch.ones(1, 3)).sum().backward()
            optimizer.step()
            model.weight.data = torch.full((2, 3), float(i))
    run = recorder.trajectory()
    np.testing.assert_allclose(run.values[:4, :2], expected, rtol=1e-6, atol=1e-7)
    assert not np.allclose(run.values[2, 2:], run.values[1, 2:]), "the projection follows too"


def test_a_projection_is_the_same_by_either_way():
    """A parameter whose entries are not in order is left to torch, whose way is that of other devices."""
    draw = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(6, 5, generator=draw), "b": torch.randn(7, generator=draw), "c": torch.randn(())}
    swapped = weights | {"a": weights["a"].t().contiguous().t()}
    assert _host.on_host(list(weights.values()))
    assert not _host.on_host(list(swapped.values()))
    found = []
    for parameters in (weights, swapped):
        state = dc.recording.State(0, None, None, parameters)
        meter = dc.recording.Projection(3).bind(state)
        found.append(meter.finish(np.array([np.ravel([np.asarray(v) for v in meter.measure(state)])]))[0])  # pyright: ignore
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_gradients_in_new_memory_or_in_another_order_are_seen_as_they_are():
    draw = torch.Generator().manual_seed(0)
    weights = [torch.zeros(4, 3), torch.zeros(()), torch.zeros(0, 2)]
    gradients, kept = _host.HostGradients(weights), []
    for i in range(3 * _host.MOST_PLACES):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=draw)
            kept.append(weight.grad)  # So that the next one is elsewhere.
        assert _host.norm(gradients() or []) == pytest.approx(np.linalg.norm(flat([w.grad for w in weights])), rel=1e-6)
        weights[0].grad.mul_(i)  # The same memory, other numbers.
        assert _host.norm(gradients() or []) == pytest.approx(np.linalg.norm(flat([w.grad for w in weights])), rel=1e-6)
    weights[0].grad = torch.ones(3, 4).t()
    assert gradients() is None
    weights[0].grad = None
    assert len(gradients() or []) == 1


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("odd", ["sparse", "graph"])
def test_gradients_that_numpy_cannot_see_are_left_to_torch(odd):
    table = nn.Embedding(4, 2, sparse=odd == "sparse")
    nn.init.ones_(table.weight)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    with dc.record(optimizer, table, ["gradient_norm"]) as recorder:
        for _ in range(2):
            optimizer.zero_grad()
            (table(torch.tensor([1, 1, 2])) ** 2).sum().backward(create_graph=odd == "graph")
            assert _host.HostGradients(list(table.parameters()))() is None
            optimizer.step()
            table.weight.grad = None
            nn.init.ones_(table.weight)
    # Of two rows of two ones, squared, one was looked up twice.
    np.testing.assert_allclose(recorder.trajectory().values[:, 0], np.sqrt(2 * 4**2 + 2 * 2**2), rtol=1e-6)
