"""Densities corrected by what came before: the switch by hand, no later value known, better where they were off."""

import numpy as np
import pytest
from fixed_kernel import FixedKernel
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from descentcast import Densities, RecalibratedKernel, Trajectories, recalibrate_densities
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import TransitionKernel
from descentcast.kernels._recalibrated_densities import rows_of_present, switched

EDGES = np.linspace(-4, 4, 81)
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2


def densities(probs: np.ndarray, edges: np.ndarray = EDGES) -> Densities:
    return Densities(probs, edges, np.full(len(probs), "identity"), np.zeros(1), 0.0)


def gaussian_rows(means: np.ndarray, sd: float) -> np.ndarray:
    rows = np.diff(stats.norm(means[:, None], sd).cdf(EDGES), axis=1)
    return rows / rows.sum(axis=1, keepdims=True)


def run_of(rng: np.random.Generator, steps: int, slope: float = 0.8, sd: float = 0.5) -> np.ndarray:
    x = [0.0]
    for _ in range(steps):
        x.append(float(np.clip(slope * x[-1] + sd * rng.normal(), -3.9, 3.9)))
    return np.array(x)


def distance(found: np.ndarray, truth: np.ndarray) -> float:
    return float(-np.log(np.sqrt(found * truth).sum(axis=1)).mean())


@settings(max_examples=50, deadline=None)
@given(gains=st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_the_switch_is_bayes_rule_over_all_times_of_switching(gains):
    """Enumerated: switch at s with probability 1 / ((s + 1) (s + 2)), the second forecaster's odds from s on."""
    gains = np.array(gains)
    for t in range(len(gains) + 1):
        switch = [np.exp(gains[s:t].sum()) / ((s + 1) * (s + 2)) for s in range(t + 1)]
        never = 1 / (t + 2)
        assert switched(gains)[t] == pytest.approx(sum(switch) / (sum(switch) + never), rel=1e-9)


def test_the_score_is_nearly_that_of_the_best_single_switch():
    """Regret at most -log of the prior of that switch: log((s + 1)(s + 2))."""
    rng = np.random.default_rng(0)
    gains = np.where(np.arange(200) < 60, -0.5, 0.4) + 0.3 * rng.normal(size=200)
    weight = switched(gains)[:-1]
    mixed = np.log(1 - weight + weight * np.exp(gains)).sum()
    best = max((gains[s:].sum(), s) for s in range(200))
    assert best[0] - np.log((best[1] + 1) * (best[1] + 2)) <= mixed <= best[0]


def test_densities_that_are_off_become_right():
    rng = np.random.default_rng(1)
    x = run_of(rng, 400)
    truth = gaussian_rows(0.8 * x, 0.5)
    # Wrong by a smooth shift, by an error of its own each, and too wide.
    read = gaussian_rows(0.8 * x + 0.3 + 0.2 * rng.normal(size=len(x)), 0.8)
    better = recalibrate_densities(densities(read), x).probs
    assert_allclose(better.sum(axis=1), 1, atol=1e-9)
    late = slice(200, None)
    assert distance(better[late], truth[late]) < 0.25 * distance(read[late], truth[late])


def test_where_more_than_the_state_matters_the_densities_are_kept():
    """What comes next is drawn beforehand: the densities were told, and the present state says nothing of it."""
    rng = np.random.default_rng(2)
    hidden = rng.permutation(np.repeat([1.5, -1.5], 150))
    x = np.concatenate([[0.0], hidden + 0.3 * rng.normal(size=300)])
    read = gaussian_rows(np.append(hidden, 0.0), 0.3)
    kept = recalibrate_densities(densities(read), x)
    assert distance(kept.probs[20:], read[20:]) < 0.02


def test_row_t_rests_on_values_up_to_t_alone():
    rng = np.random.default_rng(3)
    x = run_of(rng, 80)
    read = gaussian_rows(0.5 * x, 0.7)
    other, read_other = x.copy(), read.copy()
    other[51:] = np.clip(other[51:] + 0.9, -3.9, 3.9)
    read_other[51:] = gaussian_rows(-0.5 * other[51:], 0.4)
    one, two = recalibrate_densities(densities(read), x), recalibrate_densities(densities(read_other), other)
    np.testing.assert_array_equal(one.probs[:51], two.probs[:51])
    assert not np.allclose(one.probs[60], two.probs[60])


def test_rows_are_those_of_the_recalibrated_kernel_of_the_same_rows():
    """Densities that are rows of one kernel, every cell visited: the row is that of `RecalibratedKernel`."""
    rng = np.random.default_rng(4)
    edges = np.linspace(-2, 2, 9)
    x = np.clip(run_of(rng, 200, sd=0.7), -1.99, 1.99)
    cells = np.searchsorted(edges, x, side="right") - 1
    assert set(cells) == set(range(8))
    rows = rng.dirichlet(np.full(8, 3.0), size=8)
    found = rows_of_present(rows[cells], x, cells, edges, 0.0)
    kernel = RecalibratedKernel(FixedKernel(rows, np.zeros((8, 2)))).fit(Trajectories.from_arrays([x]), edges).kernel_
    assert isinstance(kernel, TransitionKernel)
    # The kernel was last made at some of the last four hundredths of the values.
    assert np.abs(found[-1] - kernel.matrix[cells[-1]]).max() < 0.05
    exact = [t for t in range(150, 201) if np.allclose(_kernel_at(rows, x, edges, t)[cells[t]], found[t], atol=1e-12)]
    assert len(exact) >= 5, "rows of the steps at which the kernel was made anew"


def _kernel_at(rows: np.ndarray, x: np.ndarray, edges: np.ndarray, t: int) -> np.ndarray:
    runs = Trajectories.from_arrays([x[: t + 1]])
    kernel = RecalibratedKernel(FixedKernel(rows, np.zeros((8, 2)))).fit(runs, edges).kernel_
    assert isinstance(kernel, TransitionKernel)
    return kernel.matrix


def test_what_does_not_fit_is_refused():
    read = densities(gaussian_rows(np.zeros(5), 0.5))
    with pytest.raises(ArgumentError, match="values has 4 entries, must have one a density: 5"):
        recalibrate_densities(read, np.zeros(4))
    with pytest.raises(ArgumentError, match="must lie on the grid"):
        recalibrate_densities(read, [0.0, 0.0, 9.0, 0.0, 0.0])
    with pytest.raises(ArgumentError, match="smoothing == 2"):
        recalibrate_densities(read, np.zeros(5), smoothing=2)


def test_what_cannot_be_corrected_is_refused_by_name():
    edges = np.linspace(-1, 1, 11)
    flat = Densities(np.full((3, 10), 0.1), edges, np.full(3, "identity"), np.zeros(1), 0.0)
    with pytest.raises(ArgumentError, match="densities is a ndarray, must be Densities"):
        recalibrate_densities(flat.probs, [0.0, 0.1, 0.2])  # pyright: ignore[reportArgumentType]
    for scale, rule in ((1e300, "must stay within 1e150"), (1e-300, "must reach 1e-150")):
        wide = Densities(flat.probs, scale * edges, flat.rules, flat.outside_mass, 0.0)
        with pytest.raises(DataError, match=f"^values: values go from .*{rule}"):
            recalibrate_densities(wide, scale * np.array([0.0, 0.1, 0.2]))
