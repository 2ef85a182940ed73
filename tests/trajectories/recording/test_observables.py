"""Observables against closed forms, independent implementations and invariants."""

import numpy as np
import powerlaw
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import nn

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories.recording import _observables, _projection
from descentcast.trajectories.recording._session import to_host


def state(**parameters: torch.Tensor) -> dc.recording.State:
    return dc.recording.State(0, None, None, parameters)


def value(observable: dc.recording.Observable, where: dc.recording.State) -> np.ndarray:
    meter = observable.bind(where)
    return meter.finish(to_host([meter.measure(where)]))[0]  # pyright: ignore[reportArgumentType]


def weights(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"conv": (4, 3, 2, 2), "dense": (5, 7), "bias": (6,), "scale": ()}
    return {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}


def test_projections_keep_squared_norms_in_expectation():
    given_ = weights()
    norm = sum(float(w.square().sum()) for w in given_.values())
    draws = np.array([value(dc.recording.Projection(8, seed), state(**given_)) for seed in range(400)])
    squares = (draws**2).sum(axis=1)
    error = squares.std() / np.sqrt(len(squares))
    assert abs(squares.mean() - norm) < 4 * error
    assert error < 0.05 * norm
    assert np.abs(draws.mean(axis=0)).max() < 4 * np.sqrt(norm / 8 / 400)
    correlation = np.corrcoef(draws.T) - np.eye(8)
    assert np.abs(correlation).max() < 4 / np.sqrt(400), "coordinates are uncorrelated"


def test_a_projection_is_the_signed_sum_of_all_weights():
    """Against a dense matrix over all weights, read off the projection of unit vectors."""
    shapes = {name: w.shape for name, w in weights().items()}
    sizes = [w.numel() for w in weights().values()]
    observable, dense = dc.recording.Projection(3, seed=5), []
    for i in range(sum(sizes)):
        parts = torch.eye(sum(sizes))[i].split(sizes)
        unit = {name: part.reshape(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        dense.append(value(observable, state(**unit)))
    matrix = np.array(dense)
    np.testing.assert_allclose(np.abs(matrix), 3**-0.5, rtol=1e-6)
    given_ = weights(3)
    flat = torch.cat([w.reshape(-1) for w in given_.values()]).numpy()
    np.testing.assert_allclose(value(observable, state(**given_)), flat @ matrix, rtol=1e-4, atol=1e-5)
    assert not np.allclose(value(dc.recording.Projection(3, seed=6), state(**given_)), flat @ matrix)


@pytest.mark.parametrize("setting", ["medium", "high"])
def test_projections_do_not_depend_on_blocks_precision_settings_or_layout(monkeypatch, setting):
    given_ = {"w": torch.randn(64, 128, generator=torch.Generator().manual_seed(0))}
    exact = value(dc.recording.Projection(4), state(w=given_["w"].double()))
    tolerance = {"rtol": 0, "atol": 1e-6 * float(given_["w"].norm())}
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(setting)
    try:
        np.testing.assert_allclose(value(dc.recording.Projection(4), state(**given_)), exact, **tolerance)
    finally:
        torch.set_float32_matmul_precision(before)
    swapped = state(w=given_["w"].t().contiguous().t())
    np.testing.assert_allclose(value(dc.recording.Projection(4), swapped), exact, **tolerance)
    half = state(w=given_["w"].bfloat16())
    whole = value(dc.recording.Projection(4), half)
    np.testing.assert_allclose(
        whole, value(dc.recording.Projection(4), state(w=half.parameters["w"].double())), rtol=1e-5
    )
    monkeypatch.setattr(_projection, "BLOCK", 300)
    np.testing.assert_allclose(value(dc.recording.Projection(4), half), whole, rtol=1e-5)


def test_the_seed_fixes_the_signs_forever():
    """Written down once: recordings of different versions and devices must agree."""
    powers = state(w=2.0 ** torch.arange(12.0).reshape(3, 4))
    assert (value(dc.recording.Projection(2, seed=7), powers) * np.sqrt(2)).round(4).tolist() == [2439, -239]


def test_distance_in_blocks_is_distance(monkeypatch):
    moved, still = weights(1), {k: v.clone() for k, v in weights(0).items()}
    expected = np.sqrt(sum(float((moved[k] - still[k]).square().sum()) for k in moved))
    for block in (1, 40, 2**24):
        monkeypatch.setattr(_observables, "BUCKET", block)
        where = state(**{k: v.clone() for k, v in still.items()})
        meter = dc.recording.Distance().bind(where)
        for name, tensor in where.parameters.items():
            tensor.copy_(moved[name])
        measured = meter.finish(to_host([meter.measure(where)]))  # pyright: ignore[reportArgumentType]
        np.testing.assert_allclose(measured, [[expected]], rtol=1e-6)


@given(st.integers(0, 3), st.integers(0, 4))
@settings(max_examples=20)
def test_a_negative_index_is_the_same_entry(i, j):
    given_ = state(w=torch.arange(20.0).reshape(4, 5))
    assert value(dc.recording.Scalar("w", (i, j)), given_) == value(dc.recording.Scalar("w", (i - 4, j - 5)), given_)
    assert value(_observables.observable(f"w[{i}, {j}]"), given_)[0] == 5 * i + j


def pareto(alpha: float, count: int) -> np.ndarray:
    """Return the quantiles of p(x) ~ x^(-alpha), x > 1."""
    return (1 - (np.arange(count) + 0.5) / count) ** (-1 / (alpha - 1))


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
@pytest.mark.parametrize("tail", ["closest", "half"])
def test_alpha_of_a_matrix_whose_spectrum_is_pareto(alpha, tail):
    rng = np.random.default_rng(0)
    count = 300
    left, right = (np.linalg.qr(rng.standard_normal((size, count)))[0] for size in (500, 400))
    matrix = torch.as_tensor((left * np.sqrt(pareto(alpha, count))) @ right.T)
    found = value(dc.recording.HeavyTail(tail=tail), state(layer=matrix))[0]
    assert abs(found - alpha) < 0.03 * alpha
    scaled = value(dc.recording.HeavyTail(tail=tail), state(layer=(17 * matrix).reshape(500, 20, 20)))[0]
    assert abs(found - scaled) < 1e-6, "the scale of the weights does not matter, nor does how the inputs are laid out"


@pytest.mark.parametrize("seed", range(4))
def test_power_laws_agree_with_the_powerlaw_package(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.uniform(0.1, 1, 100), 1 + rng.pareto(1.5, 150)])
    alpha, low = dc.recording.power_law(x)
    oracle = powerlaw.Fit(x, verbose=False)
    assert abs(alpha - oracle.power_law.alpha) < 0.03 * alpha
    given_low = powerlaw.Fit(x, xmin=low, verbose=False)
    np.testing.assert_allclose(alpha, given_low.power_law.alpha, rtol=1e-6)


def test_power_laws_of_few_or_odd_values_are_unknown():
    for odd in ([], [1.0, 2.0], [3.0] * 9, [0.0] * 5, [1.0, 2.0, np.inf, 4.0]):
        assert np.isnan(dc.recording.power_law(odd)).all()
    x = pareto(2.5, 400)
    assert dc.recording.power_law(np.concatenate([x, np.zeros(50)])) == dc.recording.power_law(x)


def test_alpha_of_weights_that_diverged_is_unknown():
    broken = torch.randn(60, 60)
    broken[3, 4] = torch.nan
    assert np.isnan(value(dc.recording.HeavyTail(), state(layer=broken))).all()


def train(seed: int, observables: list, steps: int = 40) -> dc.recording.Recorder:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    with dc.record(optimizer, model, observables) as recorder:
        for _ in range(steps):
            optimizer.zero_grad()
            (model(torch.randn(8, 4)) - 1).square().mean().backward()
            optimizer.step()
    return recorder


def test_principal_components_are_those_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr("descentcast.trajectories.recording._principal.BLOCK", 64)
    runs = [dc.recording.Snapshots(most=100) for _ in range(2)]
    for seed, run in enumerate(runs):
        train(seed, ["loss", run])
    fitted = dc.recording.PrincipalComponents.fit(runs, components=3)
    x = np.array([row for run in runs for row in run.rows])
    oracle = PCA(3).fit(x)
    signs = np.sign((fitted.components * oracle.components_).sum(axis=1))
    np.testing.assert_allclose(fitted.components, signs[:, None] * oracle.components_, atol=2e-5)
    np.testing.assert_allclose(fitted.share, oracle.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(fitted.variance, oracle.explained_variance_, rtol=1e-4)
    fitted.save(tmp_path / "pca.npz")
    loaded = dc.recording.PrincipalComponents.load(tmp_path / "pca.npz")
    assert loaded.components.tobytes() == fitted.components.tobytes()
    kept = dc.recording.Snapshots(most=100)
    recorded = train(7, [loaded, kept]).trajectory()
    assert recorded.names == ("pc:0", "pc:1", "pc:2")
    expected = signs * oracle.transform(np.array(kept.rows))
    np.testing.assert_allclose(recorded.values, expected, atol=1e-4)
    np.testing.assert_allclose(loaded.project(kept).values, recorded.values, atol=1e-5)
    assert loaded.project(kept).steps.tolist() == recorded.steps.tolist()


def test_snapshots_thin_out_evenly():
    kept = dc.recording.Snapshots(most=8)
    train(0, ["loss", kept], steps=50)
    assert kept.steps == [0, 8, 16, 24, 32, 40, 48]
    assert len(kept.rows) == 7


def test_components_of_the_wrong_snapshots_are_refused(tmp_path):
    kept, empty = dc.recording.Snapshots(), dc.recording.Snapshots()
    train(0, ["loss", kept], steps=4)
    fit = dc.recording.PrincipalComponents.fit
    with pytest.raises(ArgumentError, match=r"components == 4, the snapshots vary in 3 direction\(s\) only"):
        fit([kept], components=4)
    with pytest.raises(ArgumentError, match="all of models with the same parameters"):
        fit([kept, empty])
    with pytest.raises(ArgumentError, match=r"runs hold 0 snapshot\(s\)"):
        fit([empty])
    with pytest.raises(ArgumentError, match="fitted on a model with other parameters"):
        fit([kept]).bind(state(w=torch.ones(2)))
    (tmp_path / "a.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="no principal components"):
        dc.recording.PrincipalComponents.load(tmp_path / "a.npz")
