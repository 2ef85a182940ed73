"""The language-model estimator on models with known rows, and once on a real one."""

import numpy as np
import pytest
from sklearn.base import clone
from tests.conftest import FakeModel

import descentcast as dc
from descentcast.densities import pool
from descentcast.errors import ArgumentError
from descentcast.kernels._grid import one_step_spread
from descentcast.kernels._reading import iterated_score

EDGES = np.linspace(-1.0, 1.0, 101)


def law_of(model: FakeModel, rule: str = "log") -> np.ndarray:
    """Return the rows that the rule makes of the model's laws, read in one view."""
    laws = np.array([model.law(code) for code in range(100)])
    return pool(laws[None], rule)


def runs(seed: int = 0, count: int = 2, steps: int = 30) -> dc.Trajectories:
    rng = np.random.default_rng(seed)
    arrays = []
    for _ in range(count):
        x = [rng.uniform(-0.8, 0.8)]
        for _ in range(steps):
            x.append(float(np.clip(0.8 * x[-1] + 0.08 * rng.normal(), -0.9, 0.9)))
        arrays.append(np.array(x))
    return dc.Trajectories.from_arrays(arrays, names=["w"], setting={"step": 0.1})


def test_probed_rows_are_the_models_rows(fake_model):
    fitted = dc.InContextKernel(fake_model, views=1, rows="probed").fit(runs(), EDGES)
    np.testing.assert_allclose(fitted.kernel_.matrix, law_of(fake_model, fitted.rules_[0]), atol=2e-4)
    assert set(fitted.kernel_.evidence.source) == {"probed"}


def test_visited_rows_are_the_models_rows_and_belong_to_the_state_before(fake_model):
    context = runs()
    fitted = dc.InContextKernel(fake_model, views=1, rows="visited").fit(context, EDGES)
    visits = np.bincount(
        np.concatenate([np.searchsorted(EDGES, r.values[:, 0], "right") - 1 for r in context]), minlength=100
    )
    visited = visits > 0
    np.testing.assert_allclose(fitted.kernel_.matrix[visited], law_of(fake_model, fitted.rules_[0])[visited], atol=2e-4)
    np.testing.assert_array_equal(fitted.kernel_.evidence.visits, visits)
    sources = fitted.kernel_.evidence.source
    assert set(sources[visited]) == {"visited"}
    inner = np.arange(100)[
        ~visited & (np.arange(100) > np.argmax(visited)) & (np.arange(100) < 99 - np.argmax(visited[::-1]))
    ]
    assert set(sources[inner]) <= {"completed"}
    assert set(sources[: np.argmax(visited)]) == {"extrapolated"}


def test_completed_rows_lie_between_their_neighbours(fake_model):
    fitted = dc.InContextKernel(fake_model, views=1, rows="visited").fit(runs(steps=60), EDGES)
    kernel = fitted.kernel_
    completed = kernel.evidence.source == "completed"
    assert completed.any()
    means = kernel.matrix @ kernel.centres
    np.testing.assert_allclose(
        means[completed], (law_of(fake_model, fitted.rules_[0]) @ kernel.centres)[completed], atol=0.02
    )


@pytest.mark.parametrize("rows", ["visited", "probed"])
@pytest.mark.parametrize("completion", ["quantile", "sinkhorn", "nearest"])
def test_every_row_is_a_distribution(fake_model, rows, completion):
    fitted = dc.InContextKernel(fake_model, views=2, rows=rows, completion=completion).fit(runs(steps=12), EDGES)
    for kernel in [fitted.kernel_, *fitted.replicates_[:3]]:
        np.testing.assert_allclose(kernel.matrix.sum(axis=1) + kernel.overflow.sum(axis=1), 1)
        assert (kernel.matrix.sum(axis=1) > 0).all()


def test_runs_longer_than_the_model_reads_are_shown_in_excerpts(fake_model, monkeypatch):
    """The fake model's rows depend on the probed state alone, so they are the same; what it reads fits."""
    runs = dc.Trajectories.from_arrays([np.random.default_rng(0).uniform(0, 100, 300)])
    edges = np.linspace(0, 100, 21)
    whole = dc.InContextKernel(fake_model, views=2, rows="probed").fit(runs, edges)
    lengths = []
    read = type(fake_model).log_probs

    def counted(self, forest):
        lengths.append(len(forest.prompt) + forest.depths.max() + 1)
        return read(self, forest)

    monkeypatch.setattr(type(fake_model), "log_probs", counted)
    monkeypatch.setattr(fake_model, "max_length", 200)
    cut = dc.InContextKernel(fake_model, views=2, rows="probed").fit(runs, edges)
    assert max(lengths) <= 200
    np.testing.assert_allclose(cut.kernel_.matrix, whole.kernel_.matrix, atol=0.02)


def test_auto_reads_both_only_of_models_that_know_restarts():
    context = runs()
    visited = np.histogram(np.concatenate(context.coordinate(0)), EDGES)[0] > 0
    for restarts, elsewhere in ((True, {"probed"}), (False, {"completed", "extrapolated"})):
        sources = dc.InContextKernel(FakeModel(restarts=restarts), views=1).fit(context, EDGES).kernel_.evidence.source
        assert set(sources[visited]) == {"visited"}
        assert set(sources[~visited]) == elsewhere


def test_both_is_the_mixture_of_what_each_reads_even_in_the_hull(tiny_model):
    """With the same seed the views are the same, so the kernels and their resamples are mixtures, to the last digit."""
    context = runs()
    visited, probed, both = (
        dc.InContextKernel(tiny_model, views=2, rows=rows, random_state=3).fit(context, EDGES)
        for rows in ("visited", "probed", "both")
    )
    values = np.concatenate(context.coordinate(0))
    cells = np.searchsorted(EDGES, [values.min(), values.max()], side="right") - 1
    below, above = EDGES[cells[0]] - visited.kernel_.centres, visited.kernel_.centres - EDGES[cells[1] + 1]
    spread = one_step_spread(*context.transitions(0))
    weight = 0.5 / (1 + np.maximum(np.maximum(below, above), 0) / max(spread, np.diff(EDGES).max()))
    assert (weight == 0.5).sum() == cells[1] - cells[0] + 1
    assert weight.min() < 0.4

    def mixture(of_visits, of_probes):
        return weight[:, None] * of_visits + (1 - weight[:, None]) * of_probes

    average = mixture(visited.kernel_.matrix, probed.kernel_.matrix)
    np.testing.assert_allclose(both.kernel_.matrix, average, atol=1e-5)
    overflow = mixture(visited.kernel_.overflow, probed.kernel_.overflow)
    np.testing.assert_allclose(both.kernel_.overflow, overflow, atol=1e-5)
    assert both.rules_ == [f"{visited.rules_[0]} at visits, {probed.rules_[0]} probed"]
    drawn = mixture(visited.replicates_[0].matrix, probed.replicates_[0].matrix)
    np.testing.assert_allclose(both.replicates_[0].matrix, drawn, atol=1e-5)


def test_runs_longer_than_the_model_are_probed_only():
    class Short(FakeModel):
        max_length = 95

    fitted = dc.InContextKernel(Short(), views=2, rows="both").fit(runs(), EDGES)
    assert set(fitted.kernel_.evidence.source) == {"probed"}


def test_the_same_seed_gives_the_same_bytes(fake_model):
    one, two = (dc.InContextKernel(fake_model, views=3, random_state=5).fit(runs(), EDGES) for _ in range(2))
    np.testing.assert_array_equal(one.kernel_.matrix, two.kernel_.matrix)
    for a, b in zip(one.replicates_, two.replicates_, strict=True):
        np.testing.assert_array_equal(a.matrix, b.matrix)


def test_two_coordinates_are_read_one_by_one(fake_model):
    rng = np.random.default_rng(0)
    values = rng.uniform(-0.5, 0.5, size=(20, 2))
    both = dc.InContextKernel(fake_model, views=1, rows="visited").fit(
        dc.Trajectories.from_arrays([values]), [EDGES, EDGES]
    )
    assert len(both.kernel_) == 2
    assert all(kernel.projected for kernel in both.kernel_)
    assert len(both.replicates_[0]) == 2
    single = dc.InContextKernel(fake_model, views=1, rows="visited").fit(
        dc.Trajectories.from_arrays([values[:, 1]]), EDGES
    )
    np.testing.assert_allclose(both.kernel_[1].matrix, single.kernel_.matrix)


def test_the_log_score_is_that_of_the_rows(fake_model):
    context = runs()
    fitted = dc.InContextKernel(fake_model, views=1, rows="probed").fit(context, EDGES)
    before, after = context.transitions(0)
    cells = [np.searchsorted(EDGES, v, "right") - 1 for v in (before, after)]
    expected = np.log(fitted.kernel_.matrix[cells[0], cells[1]] / 0.02).mean()
    assert fitted.log_score_[0] == pytest.approx(expected, abs=1e-6)


def test_progress_and_scikit_learn_habits(fake_model):
    seen = []
    estimator = dc.InContextKernel(fake_model, views=2, progress=lambda done, total: seen.append((done, total)))
    copy = clone(dc.InContextKernel(views=3))
    assert copy.get_params()["views"] == 3
    assert estimator.fit(runs(steps=5), EDGES) is estimator
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"digits": 0}, "digits == 0"),
        ({"views": 0}, "views == 0"),
        ({"rows": "all"}, "rows == 'all', must be one of 'auto', 'visited', 'probed'"),
        ({"completion": "magic"}, "completion == 'magic'"),
        ({"coordinates": "both"}, "coordinates == 'both'"),
    ],
)
def test_parameters_are_checked_before_a_model_is_loaded(options, message):
    with pytest.raises(ArgumentError, match=message):
        dc.InContextKernel("no such model", **options).fit(runs())


def test_values_outside_the_edges_are_an_error(fake_model):
    with pytest.raises(ArgumentError, match=r"must hold all values"):
        dc.InContextKernel(fake_model).fit(runs(), np.linspace(-0.1, 0.1, 11))


@pytest.mark.model
@pytest.mark.slow
def test_a_real_model_reads_a_drift(smollm2):
    """Rows of a contracting chain, read by the frozen default model, pull towards the fixed point from both sides."""
    context = dc.problems.Quadratic(step_size=0.5, noise=0.4).simulate([2.0], 60, random_state=0)
    fitted = dc.InContextKernel(smollm2, views=1, rows="visited").fit(context)
    kernel = fitted.kernel_
    visited = kernel.evidence.source == "visited"
    drift = (kernel.matrix @ kernel.centres - kernel.centres)[visited]
    centres = kernel.centres[visited]
    assert drift[centres > 0.3].mean() < 0 < drift[centres < -0.3].mean()
    assert 0 < fitted.outside_mass_ < 1


def test_the_iterated_score_by_hand():
    kernel = dc.TransitionKernel([0, 1, 2], [[0.5, 0.5], [0.25, 0.75]], np.zeros((2, 2)))
    squared = np.array([[0.375, 0.625], [0.3125, 0.6875]])
    path = np.array([0, 1, 1, 0])
    one = np.log([0.5, 0.75, 0.25]).mean()
    two = np.log([squared[0, 1], squared[1, 0]]).mean()
    assert iterated_score(kernel, [path]) == pytest.approx((one + two) / 2)


def test_digits_too_coarse_for_the_noise_and_missing_intervals_are_said():
    context = runs(steps=20)
    coarse = dc.InContextKernel(FakeModel(digits=1, sd=0.5), digits=1, views=1, rows="probed").fit(context, EDGES)
    assert any("read more digits" in note for note in coarse.kernel_.notes)
    assert coarse.replicates_ == []
    assert any("no intervals" in note for note in coarse.kernel_.notes)
    fine = dc.InContextKernel(FakeModel(digits=3, sd=20.0), digits=3, views=1, rows="visited").fit(context, EDGES)
    assert not fine.kernel_.notes
    assert len(fine.replicates_) == 40


@pytest.mark.parametrize("scale", [1e-6, 1e14])
def test_the_log_score_of_a_reading_follows_the_units(scale):
    x = np.random.default_rng(0).uniform(-1, 1, 40)
    scores = [
        dc.InContextKernel(FakeModel(), views=1).fit(dc.Trajectories.from_arrays([s * x])).log_score_[0]
        for s in (1.0, scale)
    ]
    assert scores[0] == pytest.approx(scores[1] + np.log(scale), abs=1e-6)
