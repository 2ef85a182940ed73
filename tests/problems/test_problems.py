"""What all problems share: minima, gradients, simulation, seeds, errors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from descentcast.errors import ArgumentError, DataError
from descentcast.problems import (
    DoubleWell,
    LinearRegression,
    LogisticRegression,
    OneNeuron,
    PhaseRetrieval,
    Quadratic,
    ScalarDeepLinear,
    TiltedTripleWell,
)

PROBLEMS = [
    Quadratic(minimum=0.3, curvature=2.0),
    DoubleWell(half_width=1.2),
    TiltedTripleWell(),
    LinearRegression(),
    LinearRegression(over_parametrised=True),
    LinearRegression(dimension=2),
    LogisticRegression(),
    PhaseRetrieval(),
    ScalarDeepLinear(),
    OneNeuron(),
]
each = pytest.mark.parametrize("problem", PROBLEMS, ids=[f"{type(p).__name__}-{i}" for i, p in enumerate(PROBLEMS)])


def starts_for(problem, m=5):
    points = np.linspace(-0.8, 0.9, m)
    dimension = len(problem.coordinates)
    return points if dimension == 1 else np.stack([points, points[::-1]], axis=1)


def hessian(problem, point, h=1e-5):
    if len(problem.coordinates) == 1:
        return np.array([[(problem.gradient(point + h) - problem.gradient(point - h)) / (2 * h)]])
    shifts = h * np.eye(len(point))
    return np.stack([(problem.gradient(point + s) - problem.gradient(point - s)) / (2 * h) for s in shifts])


@each
def test_gradient_is_the_derivative_of_the_loss(problem):
    points, h = starts_for(problem), 1e-5
    if points.ndim == 1:
        numeric = (problem.loss(points + h) - problem.loss(points - h)) / (2 * h)
    else:
        shifts = h * np.eye(points.shape[1])
        numeric = np.stack([(problem.loss(points + s) - problem.loss(points - s)) / (2 * h) for s in shifts], axis=1)
    assert problem.gradient(points).shape == points.shape
    assert_allclose(problem.gradient(points), numeric, atol=1e-7)


@each
def test_minima_are_zeros_of_the_gradient_with_positive_curvature(problem):
    minima = problem.minima
    assert np.abs(problem.gradient(minima)).max() < 1e-9
    for point in minima:
        curvatures = np.linalg.eigvalsh(hessian(problem, point))
        # The branches of the deep linear network are flat along themselves.
        flat = 1 if isinstance(problem, ScalarDeepLinear) else 0
        assert (curvatures[flat:] > 1e-3).all()
        assert np.abs(curvatures[:flat]).max(initial=0) < 1e-6


@each
def test_no_local_minimum_is_missed(problem):
    """Full-gradient descent from anywhere ends at one of the minima."""
    points = problem.paths(starts_for(problem, 9), 1)[:, 0] * 1.7
    if len(problem.coordinates) == 1:
        points = points[:, 0]
    rate = 0.05 if not isinstance(problem, LogisticRegression) else 5.0
    for _ in range(4000):
        points = points - rate * problem.gradient(points)
    if isinstance(problem, ScalarDeepLinear):
        assert_allclose(points.prod(axis=1), problem.product, atol=1e-6)
        return
    distance = np.abs(points[:, None] - problem.minima[None]).reshape(len(points), len(problem.minima), -1).max(axis=2)
    assert distance.min(axis=1).max() < 1e-3


@each
def test_one_step_moves_by_the_full_gradient_on_average(problem):
    draws = 40_000
    for start in starts_for(problem, 3):
        moved = problem.paths(np.repeat(np.atleast_1d(start)[None], draws, axis=0), 1, 7)
        jump = moved[:, 1] - moved[:, 0]
        expected = -problem.step_size * np.atleast_1d(problem.gradient(start))
        error = jump.std(axis=0) / np.sqrt(draws)
        assert (np.abs(jump.mean(axis=0) - expected) <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("make", [LinearRegression, LogisticRegression, PhaseRetrieval, OneNeuron, ScalarDeepLinear])
def test_noise_variance_falls_as_one_over_the_batch(make):
    small, large = make(step_size=0.1, batch_size=2), make(step_size=0.1, batch_size=8)
    start = starts_for(small, 3)[2]
    many = np.repeat(np.atleast_1d(start)[None], 40_000, axis=0)
    ratio = small.paths(many, 1, 1)[:, 1].var(axis=0) / large.paths(many, 1, 2)[:, 1].var(axis=0)
    assert_allclose(ratio, 4.0, rtol=0.08)


@each
def test_runs_are_recorded_with_start_setting_and_names(problem):
    starts = starts_for(problem)
    runs = problem.simulate(starts, steps=12, random_state=3)
    assert len(runs) == 5
    assert runs.names == problem.coordinates
    assert dict(runs.setting) == dict(problem.setting)
    assert runs.setting["step"] == problem.step_size
    for run, start in zip(runs, starts, strict=True):
        assert run.values.shape == (13, len(problem.coordinates))
        assert_allclose(run.values[0], start)
    assert np.array_equal(np.stack([r.values for r in runs]), problem.paths(starts, 12, 3))


@each
def test_the_same_seed_gives_the_same_bytes(problem):
    starts = starts_for(problem)
    a, b, c = (problem.paths(starts, 10, seed).tobytes() for seed in (4, 4, 5))
    assert a == b
    assert a != c


@each
def test_every_problem_states_how_it_samples(problem):
    assert "Markov chain" in problem.sampling
    if "batch" in problem.setting:
        assert "with replacement" in problem.sampling
        assert f"{problem.batch_size} of {len(problem.targets)} examples" in problem.sampling


def test_loss_and_gradient_take_any_shape():
    problem = PhaseRetrieval()
    grid = np.linspace(-1, 1, 6).reshape(2, 3)
    assert problem.loss(grid).shape == (2, 3)
    assert_allclose(problem.loss(grid)[1, 2], problem.loss(1.0))
    plane = np.zeros((4, 3, 2))
    assert ScalarDeepLinear().loss(plane).shape == (4, 3)
    assert ScalarDeepLinear().gradient(plane).shape == (4, 3, 2)


def test_loss_of_many_points_does_not_depend_on_the_blocks():
    problem = LogisticRegression()
    grid = np.linspace(-3, 3, 4001)
    assert_allclose(problem.gradient(grid)[::1000], [problem.gradient(x) for x in grid[::1000]], rtol=1e-12)


def test_a_diverging_run_is_an_error_that_names_it_and_paths_keep_it():
    problem = LinearRegression(step_size=50.0)
    with pytest.raises(DataError, match=r"run 0, from \[1\.5\]: diverged at step \d+ of 500; .*paths"):
        problem.simulate([1.5, 2.0], 500)
    iterates = problem.paths([1.5, 2.0], 500)
    assert iterates.shape == (2, 501, 1)
    assert not np.isfinite(iterates[:, -1]).any()
    assert np.isfinite(iterates[:, 0]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Quadratic(step_size=0.0), r"step_size == 0.0, must be a finite number greater than 0"),
        (lambda: Quadratic(noise=-1.0), r"noise == -1.0"),
        (lambda: Quadratic(minimum=float("nan")), r"minimum == nan"),
        (lambda: DoubleWell(half_width="wide"), r"half_width == 'wide', must be a number"),
        (lambda: TiltedTripleWell(height=0.01), r"height == 0.01.*make 1 minima, must make three"),
        (lambda: PhaseRetrieval(reference=2.0), r"reference == 2 leaves 1 minima"),
        (lambda: OneNeuron(batch_size=0), r"batch_size == 0, must be at least 1"),
        (lambda: OneNeuron(batch_size=1.5), r"batch_size == 1.5, must be an integer"),
        (lambda: ScalarDeepLinear(label_noise=-0.1), r"label_noise == -0.1"),
        (lambda: LinearRegression(dimension=0), r"dimension == 0"),
        (lambda: LinearRegression(over_parametrised="yes"), r"over_parametrised == 'yes'"),
        (lambda: LinearRegression(data=([1.0, 2.0], [1.0])), r"data hold features of shape \(2, 1\) and 1 targets"),
        (lambda: LinearRegression(data=([1.0, np.inf], [1.0, 2.0])), r"data\[0\] holds inf"),
        (lambda: LinearRegression(data=[1.0, 2.0, 3.0]), r"data must be a pair"),
        (lambda: LinearRegression(data=([1.0, 1.0], [0.0, 1.0]), over_parametrised=True), r"does not exist"),
        (lambda: LinearRegression(data=([1.0, 1.0], [0.0, 1.0]), dimension=2), r"dimension == 2, but data have 1"),
        (lambda: LinearRegression(dimension=2).stationary_variance, r"needs one coordinate, there are 2"),
        (lambda: DoubleWell().simulate([[0.0, 1.0]], 5), r"starts has shape \(1, 2\), must be \(m,\) or \(m, 1\)"),
        (lambda: ScalarDeepLinear().simulate([0.0, 1.0], 5), r"starts has shape \(2,\), must be \(m, 2\)"),
        (lambda: DoubleWell().simulate([np.nan], 5), r"starts holds nan at \(0,\)"),
        (lambda: DoubleWell().simulate([0.0], 0), r"steps == 0, must be at least 1"),
        (lambda: DoubleWell().simulate([], 5), r"starts has shape \(0,\)"),
        (lambda: DoubleWell().kernel([0.0, 1.0, 0.5]), r"edges do not increase strictly"),
        (lambda: LinearRegression().kernel([0.0, 1.0, 2.0], draws=500), r"draws: .*nothing is projected"),
        (lambda: ScalarDeepLinear().kernel(np.linspace(0, 1, 5)), r"edges must be 2 arrays"),
        (lambda: ScalarDeepLinear().kernel(([0.0, 1.0, 2.0], [0.0, 2.0, 1.0])), r"edges\[1\] do not increase"),
        (
            lambda: ScalarDeepLinear().kernel(([3.0, 4.0, 5.0], [3.0, 4.0, 5.0]), starts=[[0.1, 0.1]]),
            r"starts lead nowhere within edges",
        ),
        (lambda: ScalarDeepLinear().loss([1.0, 2.0, 3.0]), r"x has shape \(3,\)"),
    ],
)
def test_bad_input_names_argument_value_and_rule(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
