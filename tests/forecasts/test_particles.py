"""Forecasts by particles: powers of a known joint chain, components by closed form, tables that agree with them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.joint_model import JointModel

import descentcast as dc
from descentcast.encoding import PrincipalComponents
from descentcast.errors import ArgumentError
from descentcast.kernels import PrincipalKernel

EDGES = [np.linspace(0.0, 1.0, 11)] * 2
BASINS = [[(0.0, 0.5), (0.5, 1.0)]] * 2


def runs(seed=0):
    rng = np.random.default_rng(seed)
    return dc.Trajectories.from_arrays([rng.uniform(0.05, 0.95, (t, 2)) for t in (9, 6)], names=["u", "v"])


@pytest.fixture(scope="module")
def model():
    return JointModel(coupling=4.0)


@pytest.fixture(scope="module")
def fitted(model):
    """An estimator whose kernel is the model's own, not sharpened."""
    estimator = dc.InContextKernel(model, digits=1, views=1, coordinates="joint").fit(runs(), EDGES)
    estimator.kernel_ = replace(estimator.kernel_, weight=1.0)
    return estimator


@pytest.fixture(scope="module")
def moved(fitted):
    return dc.forecast_particles(fitted, [[0.25, 0.85], [0.05, 0.05]], 4, particles=1500, basins=BASINS)


@pytest.fixture(scope="module")
def exact(model):
    """The law over the 100 pairs of codes from both starts after each step, by powers of the whole joint matrix."""
    matrix = np.array([model.law(code) for code in range(100)])
    law = np.eye(100)[[28, 0]]
    laws = [law]
    for _ in range(4):
        laws.append(laws[-1] @ matrix)
    return np.stack(laws, axis=1).reshape(2, 5, 10, 10)


def test_particles_are_where_powers_of_the_joint_matrix_say(moved, exact):
    """Chi-square over pairs of codes after four steps, in which no coordinate moves by itself."""
    cells = np.floor(moved.particles[:, :, -1] * 10).astype(int)
    for own, law in zip(cells, exact[:, -1], strict=True):
        seen, expected = np.zeros((10, 10)), law * 1500
        np.add.at(seen, (own[:, 0], own[:, 1]), 1)
        common = expected >= 5
        observed = np.append(seen[common], seen[~common].sum())
        wanted = np.append(expected[common], expected[~common].sum())
        assert stats.chisquare(observed, wanted).pvalue > 0.01


def test_landings_are_shares_of_particles_with_their_standard_error(moved, exact):
    table = moved.landing
    assert table.columns[:2].tolist() == ["start", "coordinate"]
    np.testing.assert_allclose(table.groupby(["start", "coordinate"])["probability"].sum(), 1)
    for d, name in enumerate(("u", "v")):
        truth = exact[:, -1].sum(axis=2 - d)[:, :5].sum(axis=1)
        rows = table[(table["coordinate"] == name) & (table["basin"] == "basin 0")]
        p = rows["probability"].to_numpy()
        np.testing.assert_allclose(rows["standard_error"], np.sqrt(p * (1 - p) / 1500))
        assert (np.abs(p - truth) < 4 * rows["standard_error"]).all()
        assert ((rows["low"] < p) & (p < rows["high"])).all()
        low, high = stats.beta.ppf([[0.05], [0.95]], 1500 * p + 0.5, 1500 * (1 - p) + 0.5)
        np.testing.assert_allclose(rows[["low", "high"]].to_numpy().T, [low, high])


def test_the_joint_landing_is_no_product_of_the_marginals(moved, exact):
    table = moved.joint_landing
    for i, start in enumerate([(0.25, 0.85), (0.05, 0.05)]):
        own = table[table["start"] == start].set_index(["u", "v"])
        truth = exact[i, -1].reshape(2, 5, 2, 5).sum(axis=(1, 3))
        for a, b in np.ndindex(2, 2):
            row = own.loc[(f"basin {a}", f"basin {b}")]
            assert abs(row["probability"] - truth[a, b]) < 4 * row["standard_error"]
        assert own["probability"].sum() == pytest.approx(1)
        assert own.loc[("basin 0", "basin 1"), "probability"] < 0.8 * truth.sum(axis=1)[0] * truth.sum(axis=0)[1]


def test_densities_quantiles_and_hitting_times_are_those_of_the_particles(moved, exact):
    for d in range(2):
        density, overflow = moved.density[d], moved.overflow[d]
        np.testing.assert_allclose(density.sum(axis=-1) + overflow.sum(axis=-1), 1)
        np.testing.assert_allclose(density, exact.sum(axis=3 - d), atol=0.06)
        median = moved.quantiles(0.5)[d][..., 0]
        np.testing.assert_allclose(median[:, 1:], np.median(moved.particles[..., d], axis=1)[:, 1:], atol=0.1)
    # From (0.05, 0.05) the upper half of u: first passage of the joint chain, by the matrix with what has hit left out.
    table = moved.hitting_time((0.5, 1.0), "u").iloc[1]
    states = moved.particles[1, :, :, 0]
    hit = (states >= 0.5).any(axis=1)
    first = (states[hit] >= 0.5).argmax(axis=1)
    assert table["probability"] == pytest.approx(hit.mean())
    assert table["mean"] == pytest.approx(first.mean())
    assert table["mean_high"] - table["mean"] == pytest.approx(1.645 * first.std() / np.sqrt(len(first)), rel=1e-3)
    assert table["median"] == np.sort(first)[(len(first) - 1) // 2]
    assert moved.hitting_time("basin 1", "u")["probability"].iloc[0] == pytest.approx(
        (moved.particles[0, :, :, 0] >= 0.5).any(axis=1).mean()
    )


def test_samples_are_particles_and_the_results_are_plain(moved):
    paths = moved.sample(7, random_state=1)
    assert paths.shape == (2, 7, 5, 2)
    np.testing.assert_array_equal(paths, moved.sample(7, random_state=1))
    assert len({p.tobytes() for p in paths[0]}) == 7
    assert all(any((path == own).all() for own in moved.particles[0]) for path in paths[0])
    with pytest.raises(ArgumentError, match=r"n == 1501, must be in \[1, 1500\]"):
        moved.sample(1501)
    data = moved.to_xarray()
    assert data["particles"].dims == ("start", "particle", "step", "coordinate")
    assert data["density_u"].shape == (2, 5, 10)
    plain = json.loads(json.dumps(moved.to_dict()))
    assert plain["particles"] == 1500
    assert {"u", "v", "probability", "standard_error"} <= set(plain["joint_landing"][0])
    assert plain["landing"][0]["standard_error"] > 0
    dc.plot(moved)


def test_forecast_goes_by_the_estimators_coordinates_and_the_seed(fitted, model):
    result = dc.forecast(fitted, [[0.25, 0.85]], 1)
    assert isinstance(result, dc.ParticleForecast)
    assert result.particles.shape == (1, 512, 2, 2)
    assert any("local-linear" in note for note in result.notes)
    again = dc.forecast_particles(fitted.kernel_, [[0.25, 0.85]], 1)
    np.testing.assert_array_equal(result.particles, again.particles)
    other = dc.forecast_particles(fitted, [[0.25, 0.85]], 1, random_state=1)
    assert (other.particles != again.particles).any()


def test_one_coordinate_can_be_moved_by_particles_too():
    rng = np.random.default_rng(0)
    one = dc.Trajectories.from_arrays([rng.uniform(0.1, 0.9, 12)])
    model = JointModel(digits=1)
    model.digits, model.law = 1, model.one
    estimator = dc.InContextKernel(model, digits=1, views=1, coordinates="joint").fit(one, EDGES[0])
    result = dc.forecast(replace(estimator.kernel_, weight=1.0), [0.25, 0.85], 1, basins=BASINS[0])
    assert result.density.shape == (2, 2, 10)
    np.testing.assert_allclose(result.density[:, 1], [model.one(2), model.one(8)], atol=0.08)
    assert result.sample(3).shape == (2, 3, 2)
    assert result.landing["start"].unique().tolist() == [0.25, 0.85]


def test_what_leaves_is_lost_and_counted_on_its_side():
    fitted = dc.InContextKernel(JointModel(sd=2.0), digits=1, views=3, coordinates="joint").fit(runs(), EDGES)
    result = dc.forecast_particles(fitted, [[0.5, 0.5]], 2, particles=600, redraws=0, basins=BASINS)
    gone = np.isnan(result.particles).any(axis=-1)
    assert (gone == np.isnan(result.particles).all(axis=-1)).all()
    assert (gone[:, :, 1:] >= gone[:, :, :-1]).all()
    for overflow in result.overflow:
        np.testing.assert_allclose(overflow.sum(axis=-1), gone.mean(axis=1))
        assert (overflow[0, 1] > 0).all()
    diverged = result.landing[result.landing["basin"] == "diverged"]["probability"]
    np.testing.assert_allclose(diverged, gone[0, :, -1].mean())
    assert any("left the range" in note for note in result.notes)
    kept = dc.forecast_particles(fitted, [[0.5, 0.5]], 2, particles=100, basins=BASINS)
    assert any("drawn again" in note for note in kept.notes)
    assert np.isfinite(kept.particles).all()


def autoregression(slope, scale, edges):
    points = (edges[:-1] + edges[1:]) / 2
    below = stats.norm.cdf((edges - slope * points[:, None]) / scale)
    return dc.TransitionKernel(edges, np.diff(below), np.column_stack([below[:, 0], 1 - below[:, -1]]))


def test_components_that_are_independent_autoregressions_have_gaussian_laws_in_the_coordinates():
    """x = 0.6 z0 - 0.8 z1, y = 0.8 z0 + 0.6 z1, each component an autoregression: mean and covariance are known."""
    axes = np.array([[0.6, 0.8], [-0.8, 0.6]])
    components = PrincipalComponents(np.zeros(2), np.ones(2), axes, np.array([0.5, 0.5]))
    slopes, noises, steps = np.array([0.9, 0.5]), np.array([0.2, 0.1]), 6
    own = tuple(autoregression(a, s, np.linspace(-2.5, 2.5, 251)) for a, s in zip(slopes, noises, strict=True))
    grid = autoregression(0.5, 0.5, np.linspace(-3, 3, 121))
    kernel = PrincipalKernel(components, own, (grid, grid))
    start = np.array([[0.7, -0.4]])
    result = dc.forecast_particles(kernel, start, steps, particles=40_000, basins=[[(-3, 0), (0, 3)]] * 2)
    ends = result.particles[0, :, -1]
    mean = (start @ axes.T * slopes**steps) @ axes
    variance = noises**2 * (1 - slopes ** (2 * steps)) / (1 - slopes**2)
    covariance = axes.T @ np.diag(variance) @ axes
    np.testing.assert_allclose(ends.mean(axis=0), mean[0], atol=0.01)
    np.testing.assert_allclose(np.cov(ends.T), covariance, atol=0.004)
    assert covariance[0, 1] > 0.02  # what marginals of x and y would not hold
    np.testing.assert_array_equal(result.particles[0, :, 0], np.repeat(start, 40_000, axis=0))


def test_intervals_of_components_are_over_resampled_kernels_and_all_that_leave_are_marked(fake_model):
    context = runs()
    fitted = dc.InContextKernel(fake_model, views=2, coordinates="pca").fit(context, EDGES)
    result = dc.forecast(fitted, [[0.5, 0.5]], 3, basins=BASINS)
    assert isinstance(result, dc.ParticleForecast)
    assert result.particles.shape == (1, 4096, 4, 2)
    assert len(result.marginals[0].replicates) == len(fitted.replicates_)
    inside = result.particles[np.isfinite(result.particles)]
    assert ((inside >= 0) & (inside <= 1)).all()
    for m in result.marginals:
        np.testing.assert_allclose(m.density.sum(axis=-1) + m.overflow.sum(axis=-1), 1)
        np.testing.assert_allclose(m.replicates.sum(axis=-1), 1)
    assert any("shares of variance" in note for note in result.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starts": [[0.5, 1.5]]}, "state 1.5 lies outside the grid of v"),
        ({"starts": [0.5]}, r"starts have shape \(1,\), must be \(m, 2\)"),
        ({"steps": 0}, "steps == 0"),
        ({"particles": 0}, "particles == 0"),
        ({"redraws": -1}, "redraws == -1"),
        ({"basins": [None]}, "basins have 1 entries, must have one for each of 2 coordinates"),
        ({"fitted_or_kernel": dc.CountKernel()}, "fitted_or_kernel is a CountKernel"),
    ],
)
def test_bad_input_is_named(fitted, options, message):
    arguments = {"fitted_or_kernel": fitted, "starts": [[0.5, 0.5]], "steps": 1} | options
    with pytest.raises(ArgumentError, match=message):
        dc.forecast_particles(**arguments)


def test_landing_tables_keep_the_columns_of_other_forecasts(moved):
    apart = dc.forecast((moved.marginals[0].kernel, moved.marginals[1].kernel), [[0.5, 0.5]], 1)
    assert set(apart.landing.columns) == set(moved.landing.columns) - {"standard_error"}
    assert isinstance(moved.occupation, pd.DataFrame)
