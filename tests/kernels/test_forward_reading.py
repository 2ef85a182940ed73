"""Kernels of beginnings, read in one context, are those of reading each beginning alone."""

import numpy as np
import pytest
from tests.conftest import FakeModel

import descentcast as dc
from descentcast.kernels._beginnings import beginning

EDGES = np.linspace(-1.0, 1.0, 21)
KNOWN = [9, 14, 16, 27]  # in the first run, at its end, two and many values into the second


def runs(changed_from: int | None = None) -> dc.Trajectories:
    rng = np.random.default_rng(0)
    values = rng.uniform(-0.9, 0.9, 30)
    if changed_from is not None:
        values[changed_from:] = rng.uniform(-0.9, 0.9, 30 - changed_from)
    return dc.Trajectories.from_arrays([values[:14], values[14:]])


@pytest.mark.parametrize("rows", ["visited", "probed", "both"])
def test_one_context_serves_every_beginning(tiny_model, rows):
    """The tiny network's answers depend on all of its context, so that a value too many would be seen."""
    estimator = dc.InContextKernel(tiny_model, views=2, rows=rows, random_state=1)
    forward = estimator.fit_forward(runs(), EDGES, KNOWN)
    for known, kernel in zip(KNOWN, forward, strict=True):
        alone = dc.InContextKernel(tiny_model, views=2, rows=rows, random_state=1)
        alone.fit(beginning(runs(), known), EDGES)
        np.testing.assert_allclose(kernel.matrix, alone.kernel_.matrix, atol=1e-4)
    whole = dc.InContextKernel(tiny_model, views=2, rows=rows, random_state=1).fit(runs(), EDGES).kernel_
    np.testing.assert_allclose(estimator.kernel_.matrix, whole.matrix, atol=1e-12)


@pytest.mark.parametrize("rows", ["visited", "probed", "both"])
def test_what_follows_a_beginning_does_not_reach_its_kernel(tiny_model, rows):
    one, two = (
        dc.InContextKernel(tiny_model, views=1, rows=rows).fit_forward(r, EDGES, [14, 20]) for r in (runs(), runs(14))
    )
    np.testing.assert_allclose(one[0].matrix, two[0].matrix, atol=1e-5)
    assert np.abs(one[1].matrix - two[1].matrix).max() > 1e-3


def test_visited_beginnings_read_nothing_that_the_fit_has_not_read():
    """Forests of the beginnings are those of the fit: with a store, no pass more."""
    model, forests = FakeModel(), []

    class Listening(FakeModel):
        def log_probs(self, forest):
            forests.append((forest.prompt.tobytes(), forest.asked.tobytes(), forest.symbols.tobytes()))
            return model.log_probs(forest)

    dc.InContextKernel(Listening(), views=2, rows="visited").fit_forward(runs(), EDGES, KNOWN)
    half = len(forests) // 2
    assert forests[:half] == forests[half:]


def test_contexts_longer_than_the_model_are_read_beginning_by_beginning():
    class Short(FakeModel):
        max_length = 95  # 30 values of two digits and a separator are 90 symbols; a probe needs more

    seen = []
    estimator = dc.InContextKernel(Short(), views=1, rows="visited", progress=lambda done, of: seen.append((done, of)))
    forward = estimator.fit_forward(runs(), EDGES, [10, 20])
    expected = dc.InContextKernel(FakeModel(), views=1, rows="visited").fit_forward(runs(), EDGES, [10, 20])
    for a, b in zip(forward, expected, strict=True):
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-9)


def test_progress_goes_once_from_none_to_all():
    seen = []
    estimator = dc.InContextKernel(FakeModel(), views=2, progress=lambda done, of: seen.append((done, of)))
    estimator.fit_forward(runs(), EDGES, [10, 20])
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_two_coordinates_are_read_one_by_one():
    values = np.random.default_rng(0).uniform(-0.5, 0.5, size=(20, 2))
    both = dc.InContextKernel(FakeModel(), views=1).fit_forward(
        dc.Trajectories.from_arrays([values]), [EDGES, EDGES], [10, 15]
    )
    assert [len(kernels) for kernels in both] == [2, 2]
    single = dc.InContextKernel(FakeModel(), views=1).fit_forward(
        dc.Trajectories.from_arrays([values[:, 1]]), EDGES, [10, 15]
    )
    np.testing.assert_allclose(both[1][1].matrix, single[1].matrix)


@pytest.mark.parametrize("seed", [3, np.random.SeedSequence(3), np.random.default_rng(3)])
def test_beginnings_are_read_in_the_views_of_the_fit_whatever_seeds_it(seed):
    estimator = dc.InContextKernel(FakeModel(), views=3, random_state=seed)
    (whole,) = estimator.fit_forward(runs(), EDGES, [sum(map(len, runs()))])
    np.testing.assert_allclose(whole.matrix, estimator.kernel_.matrix, atol=1e-12)


@pytest.mark.parametrize("rows", ["visited", "probed", "both"])
def test_with_no_beginning_only_the_whole_is_read(rows):
    estimator = dc.InContextKernel(FakeModel(), views=1, rows=rows)
    assert estimator.fit_forward(runs(), EDGES, []) == []
    assert estimator.kernel_.matrix.shape == (len(EDGES) - 1,) * 2
    members = [dc.RecalibratedKernel(dc.InContextKernel(FakeModel(), views=1, rows=rows)), dc.LocalLinearKernel()]
    few = dc.StackedKernel(members).fit(dc.Trajectories.from_arrays([[0.1, 0.3, 0.2, 0.4, 0.3]]))
    np.testing.assert_allclose(few.kernel_.matrix.sum(axis=1) + few.kernel_.overflow.sum(axis=1), 1)


def test_beginnings_of_runs_too_long_to_read_are_read_as_the_whole_is():
    model = FakeModel()
    model.max_length = 200
    long = dc.Trajectories.from_arrays([np.random.default_rng(0).uniform(-1, 1, 90)])
    estimator = dc.InContextKernel(model, views=1)
    found = estimator.fit_forward(long, EDGES, [40, 80])
    assert {source for kernel in (*found, estimator.kernel_) for source in kernel.evidence.source} == {"probed"}
