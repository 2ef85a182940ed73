"""The joint kernel and that of principal components: exact laws, densities in the box, what the fit may know."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.joint_model import JointModel

import descentcast as dc
from descentcast.errors import ArgumentError
from descentcast.kernels import fit_principal
from descentcast.kernels._joint import SCORED, WEIGHTS

EDGES = [np.linspace(0.0, 1.0, 11)] * 2


def runs(seed=0, names=("u", "v")):
    rng = np.random.default_rng(seed)
    return dc.Trajectories.from_arrays([rng.uniform(0.05, 0.95, (t, 2)) for t in (9, 6)], names=names)


def joint(model, views=1, **options):
    """Return the fitted kernel with the model's own laws, not sharpened."""
    fitted = dc.InContextKernel(model, digits=1, views=views, coordinates="joint", **options).fit(runs(), EDGES)
    return replace(fitted.kernel_, weight=1.0)


def test_the_law_at_a_state_is_the_models():
    model = JointModel()
    probs, outside = joint(model).density([[0.25, 0.85]])
    np.testing.assert_allclose(probs[0], model.joint(2, 8), atol=2e-5)
    np.testing.assert_allclose(outside, 0, atol=1e-9)


def test_views_are_pooled_linearly_and_what_lies_outside_the_box_is_told():
    model = JointModel(sd=0.4)
    kernel = joint(model, views=3)
    probs, outside = kernel.density([[0.25, 0.85]])
    assert probs.sum() + outside[0] == pytest.approx(1)
    assert 0.01 < outside[0] < 0.6
    # By the mean of each coordinate: views are affine, cells are uniform.
    expected = 0.0
    for view in kernel.views:
        code = int(view.encode([[0.25, 0.85]])[0])
        law = model.law(code).reshape(10, 10)
        for cell in np.ndindex(10, 10):
            x, y = view.decode(cell[0] * 10 + cell[1])
            width = (view.views[0].high - view.views[0].low) / 10
            share = np.clip((min(x + width / 2, 1) - max(x - width / 2, 0)) / width, 0, 1)
            height = (view.views[1].high - view.views[1].low) / 10
            share *= np.clip((min(y + height / 2, 1) - max(y - height / 2, 0)) / height, 0, 1)
            expected += law[cell] * share / 3
    assert probs.sum() == pytest.approx(expected, abs=1e-4)


def test_the_log_density_is_that_of_the_cell():
    kernel = joint(JointModel())
    probs, _ = kernel.density([[0.25, 0.85]])
    found = kernel.log_density([[0.25, 0.85]] * 2, [[0.31, 0.99], [0.77, 0.02]])
    np.testing.assert_allclose(found, np.log([probs[0, 3, 9] * 100, probs[0, 7, 0] * 100]), atol=1e-4)


def test_a_weight_sharpens_each_digit_given_those_before_it():
    """By hand: the law of the first coordinate squared, times that of the second given the first squared."""
    model = JointModel()
    kernel = replace(joint(model), weight=2.0)
    law = model.joint(2, 8)
    first = law.sum(axis=1) ** 2 / (law.sum(axis=1) ** 2).sum()
    second = law**2 / (law**2).sum(axis=1, keepdims=True)
    probs, _ = kernel.density([[0.25, 0.85]])
    np.testing.assert_allclose(probs[0], first[:, None] * second, atol=2e-4)
    found = kernel.log_density([[0.25, 0.85]], [[0.31, 0.99]])
    np.testing.assert_allclose(found, np.log(probs[0, 3, 9] * 100), atol=1e-4)


@pytest.mark.parametrize(("views", "weight"), [(1, 1.0), (3, 1.0), (2, 1.5)])
def test_particles_follow_the_joint_kernel(views, weight):
    """Chi-square of one step's particles against the law itself, given the box, over the cells of the grid."""
    kernel = replace(joint(JointModel(sd=0.3), views), weight=weight)
    count = 6000
    moved, _ = kernel.step(np.repeat([[0.25, 0.85]], count, axis=0), np.random.default_rng(1))
    probs, outside = kernel.density([[0.25, 0.85]])
    law = probs[0].ravel() / (1 - outside[0])
    cells = np.floor(moved * 10).astype(int)
    seen = np.bincount(cells[:, 0] * 10 + cells[:, 1], minlength=100)
    common = law * count >= 5
    observed, expected = seen[common], law[common] * count
    if not common.all():
        observed, expected = np.append(observed, seen[~common].sum()), np.append(expected, law[~common].sum() * count)
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 0.01


def test_no_state_is_clipped_and_what_leaves_is_marked():
    kernel = joint(JointModel(sd=2.0), views=3)
    states = np.repeat([[0.95, 0.05]], 400, axis=0)
    taken, share = kernel.step(states, np.random.default_rng(2), redraws=0)
    gone = np.isinf(taken).any(axis=1)
    assert share == gone.mean()
    assert 0.1 < share < 0.7
    assert ((taken[~gone] > 0) & (taken[~gone] < 1)).all()
    assert (np.isinf(taken[gone]) | np.isnan(taken[gone])).all()
    again, _ = kernel.step(taken, np.random.default_rng(3), redraws=0)
    np.testing.assert_array_equal(again[gone], taken[gone])
    kept, same = kernel.step(states, np.random.default_rng(2))
    assert same == share
    assert np.isfinite(kept).all()
    np.testing.assert_array_equal(kept[~gone], taken[~gone])


def test_what_the_fit_says_of_itself():
    estimator = dc.InContextKernel(JointModel(), digits=1, views=2, coordinates="joint").fit(runs(), EDGES)
    before = np.concatenate([run.values[:-1] for run in runs()])
    after = np.concatenate([run.values[1:] for run in runs()])
    # Each weight's score is known, and the best was taken.
    scores = {w: replace(estimator.kernel_, weight=w).log_density(before, after).mean() for w in WEIGHTS}
    assert estimator.kernel_.weight == max(scores, key=scores.get)
    assert estimator.rules_ == [f"linear {estimator.kernel_.weight:g}"]
    assert estimator.log_score_ == [pytest.approx(estimator.kernel_.log_density(before, after).mean())]
    assert estimator.replicates_ == []
    assert estimator.n_features_in_ == 2
    assert [len(grid) for grid in estimator.edges_] == [11, 11]
    assert estimator.kernel_.names == ("u", "v")
    assert json.loads(json.dumps(estimator.kernel_.to_dict()))["model"] == "fake"
    poor = dc.InContextKernel(JointModel(), digits=1, views=1, coordinates="joint")
    poor.model.restarts = False
    assert any("not trained on several runs" in note for note in poor.fit(runs(), EDGES).kernel_.notes)


def test_a_weight_is_chosen_on_a_bounded_number_of_transitions_and_progress_is_told():
    seen, ticks, model = [], [], JointModel()
    read = type(model).log_probs
    model.log_probs = lambda forest: seen.append(len(forest.symbols)) or read(model, forest)
    values = np.random.default_rng(0).uniform(0.05, 0.95, (1200, 2))
    estimator = dc.InContextKernel(model, digits=1, views=1, coordinates="joint", progress=lambda *t: ticks.append(t))
    estimator.fit(dc.Trajectories.from_arrays([values]), EDGES)
    assert ticks == [(1, 1)]
    estimator.kernel_.log_density(values[:-1], values[1:])
    # A newline and at most 100 states of two digits and a separator; beyond them one first digit a transition.
    assert seen[0] <= 1 + 10 + 100 + 100 + SCORED < seen[1]


def correlated(seed=0, steps=80):
    """Two coordinates of unlike units that follow two independent chains, mixed."""
    rng, z = np.random.default_rng(seed), np.zeros((steps, 2))
    for t in range(steps - 1):
        z[t + 1] = [0.9, 0.2] * z[t] + rng.normal(size=2) * [0.3, 0.1]
    return dc.Trajectories.from_arrays([z @ [[1.0, 1000.0], [-1.0, 1000.0]] + [5.0, 0.0]], names=["a", "b"])


def test_components_are_fitted_to_the_context_alone_and_their_kernels_are_those_of_the_moved_runs():
    context = correlated()
    kernel = fit_principal(dc.LocalLinearKernel(), context, None)
    values = context[0].values
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    axes = np.linalg.svd(scaled, full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(kernel.components.axes), np.abs(axes), atol=1e-9)
    z = scaled @ kernel.components.axes.T
    own = dc.LocalLinearKernel().fit(dc.Trajectories.from_arrays([z], names=["pc0", "pc1"]))
    for ours, theirs in zip(kernel.kernels, own.kernel_, strict=True):
        np.testing.assert_allclose(ours.edges, theirs.edges)
        np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=1e-9)
    assert [k.name for k in kernel.kernels] == ["pc0", "pc1"]
    assert kernel.names == ("a", "b")
    json.dumps(kernel.to_dict())


def test_given_edges_span_the_components_too(fake_model):
    context = runs()
    fitted = dc.InContextKernel(fake_model, views=2, coordinates="pca").fit(context, EDGES)
    corners = np.array([[x, y] for x in (0.0, 1.0) for y in (0.0, 1.0)])
    z = fitted.kernel_.components.forward(corners)
    for k, kernel in enumerate(fitted.kernel_.kernels):
        np.testing.assert_allclose(kernel.edges, np.linspace(z[:, k].min(), z[:, k].max(), 11))
    assert len(fitted.replicates_[0]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinates": "joint", "rows": "visited"}, "rows == 'visited', must be 'auto' or 'probed'"),
        ({"coordinates": "both"}, "coordinates == 'both', must be one of 'independent', 'pca', 'joint'"),
    ],
)
def test_parameters_are_checked(fake_model, options, message):
    with pytest.raises(ArgumentError, match=message):
        dc.InContextKernel(fake_model, **options).fit(runs())


def test_bad_input_is_named(fake_model):
    narrow = [np.linspace(0.4, 0.6, 5)] * 2
    for coordinates in ("pca", "joint"):
        estimator = dc.InContextKernel(JointModel(), digits=1, coordinates=coordinates)
        with pytest.raises(ArgumentError, match=r"run 0: value 0\.\d+ lies outside the grid of u, must be in"):
            estimator.fit(runs(), narrow)
        with pytest.raises(ArgumentError, match="must be 'independent' in a stack"):
            dc.StackedKernel([estimator]).fit(runs())
    kernel = joint(JointModel())
    with pytest.raises(ArgumentError, match=r"state 1\.5 lies outside the grid of v"):
        kernel.density([[0.5, 1.5]])
    with pytest.raises(ArgumentError, match=r"states have shape \(2,\)"):
        kernel.density([0.5, 0.5])
    with pytest.raises(ArgumentError, match="following has shape"):
        kernel.log_density([[0.5, 0.5]], [[0.5, 0.5]] * 2)
