"""Transforms chosen by prequential score, and kernels fitted in them: known walks, an independent score, masses."""

import json

import numpy as np
import pytest
from scipy import integrate, stats

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.kernels import choose_transform
from descentcast.kernels._local_lines import FIRST, Design, local_lines


def walk(rng, steps=260, sd=0.15, pull=0.05):
    """An additive random walk, held near zero."""
    z = [0.0]
    for _ in range(steps):
        z.append((1 - pull) * z[-1] + sd * rng.normal())
    return np.array(z)


WALKS = {
    "identity": lambda z: 0.5 + 0.28 * z,
    "log": lambda z: np.exp(4 * z),
    "logit": lambda z: 1 / (1 + np.exp(-5 * z)),
}


@pytest.mark.parametrize("made", WALKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_each_walk_is_taken_in_the_scale_it_was_made_in(made, seed):
    runs = dc.Trajectories.from_arrays([WALKS[made](walk(np.random.default_rng(seed)))], names=["w"])
    choice = choose_transform(runs)
    assert choice.transforms[0].name == made
    assert choice.table["log_score"].is_monotonic_decreasing


def test_each_coordinate_is_chosen_for_itself():
    rng = np.random.default_rng(2)
    values = np.column_stack([WALKS[name](walk(rng)) for name in WALKS])
    choice = choose_transform(dc.Trajectories.from_arrays([values], names=list(WALKS)))
    assert [which.name for which in choice.transforms] == list(WALKS)
    assert json.loads(json.dumps(choice.to_dict()))["transforms"][1] == {"name": "log", "low": 0.0}


def test_the_score_is_that_of_the_law_of_x_itself():
    """The law of x = exp(z) with z Student-t, by scipy alone: its log density is the score, and it integrates to 1."""
    x = np.exp(walk(np.random.default_rng(3), steps=120))
    found = choose_transform(dc.Trajectories.from_arrays([x]), ["log"])
    z = np.log(x)
    laws = local_lines(z[1:-1], [Design(z[2:])])[0]
    own, total = [], []
    for t in range(FIRST, len(z) - 2):
        law = stats.t(laws.dof[t], laws.mean[t], laws.scale[t])
        edges = np.exp(law.ppf([0.001, 0.999]))

        def density(value, law=law):
            # By differences of the distribution function of x: no Jacobian is written down.
            step = 1e-5 * value
            return (law.cdf(np.log(value + step)) - law.cdf(np.log(value - step))) / (2 * step)

        own.append(np.log(density(x[t + 2])))
        if t % 40 == 0:
            total.append(integrate.quad(density, *edges)[0])
    assert total == pytest.approx(np.full(len(total), 0.998), abs=1e-4)
    assert found.table["log_score"].iloc[0] == pytest.approx(np.mean(own), abs=1e-5)


def test_what_no_transform_holds_or_is_too_short_is_said():
    both = choose_transform(dc.Trajectories.from_arrays([walk(np.random.default_rng(4))]))
    assert both.transforms[0].name == "identity"
    assert len(both.left_out) == 2
    with pytest.raises(DataError, match="no log, as values such as"):
        choose_transform(dc.Trajectories.from_arrays([walk(np.random.default_rng(4))]), ["log"])
    with pytest.raises(DataError, match="8 steps to score"):
        choose_transform(dc.Trajectories.from_arrays([np.arange(10.0)]))
    with pytest.raises(ArgumentError, match="transforms is empty"):
        choose_transform(dc.Trajectories.from_arrays([np.arange(60.0)]), [])


@pytest.mark.parametrize(("name", "back"), [("log", np.exp), ("logit", lambda z: 1 / (1 + np.exp(-z)))])
def test_the_kernel_of_a_transform_is_the_kernel_of_its_logarithm_or_logit(name, back):
    z = walk(np.random.default_rng(5))
    inner = dc.AutoregressiveKernel().fit(dc.Trajectories.from_arrays([z], names=["loss"]))
    fitted = dc.TransformedKernel(dc.AutoregressiveKernel(), name).fit(
        dc.Trajectories.from_arrays([back(z)], names=["loss"])
    )
    np.testing.assert_allclose(fitted.kernel_.matrix, inner.kernel_.matrix, atol=1e-8)
    np.testing.assert_allclose(fitted.kernel_.edges, back(inner.kernel_.edges), rtol=1e-8)
    for ours, theirs in zip(fitted.replicates_[:3], inner.replicates_[:3], strict=True):
        np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=1e-8)
    assert fitted.choice_ is None
    assert fitted.kernel_.notes[-1] == f"cells are even in the {name}"
    law = dc.forecast(fitted, [float(back(0.2))], steps=5)
    assert law.density.sum(axis=-1) == pytest.approx(1, abs=1e-6)


def test_given_edges_are_in_the_recorded_units():
    x = np.exp(walk(np.random.default_rng(6)))
    edges = np.geomspace(0.1, 10, 31)
    fitted = dc.TransformedKernel(dc.CountKernel(), "log").fit(dc.Trajectories.from_arrays([x]), edges)
    plain = dc.CountKernel().fit(dc.Trajectories.from_arrays([np.log(x)]), np.log(edges))
    np.testing.assert_allclose(fitted.kernel_.edges, edges)
    np.testing.assert_allclose(fitted.kernel_.matrix, plain.kernel_.matrix)


def test_auto_takes_the_choice_and_several_coordinates_their_own():
    rng = np.random.default_rng(7)
    values = np.column_stack([WALKS["log"](walk(rng)), WALKS["identity"](walk(rng))])
    runs = dc.Trajectories.from_arrays([values])
    auto = dc.TransformedKernel(dc.AutoregressiveKernel()).fit(runs)
    named = dc.TransformedKernel(dc.AutoregressiveKernel(), ["log", "identity"]).fit(runs)
    assert [which.name for which in auto.transforms_] == ["log", "identity"]
    assert auto.choice_ is not None
    for ours, theirs in zip(auto.kernel_, named.kernel_, strict=True):
        np.testing.assert_array_equal(ours.matrix, theirs.matrix)
    assert auto.label == "TransformedKernel(AutoregressiveKernel)"


def test_a_beginning_is_transformed_by_what_it_knows():
    """The first half is an additive walk; later values must not change how its beginning is taken."""
    rng = np.random.default_rng(8)
    first, second = WALKS["identity"](walk(rng, 120)), WALKS["log"](walk(rng, 400))
    edges = [[0.001, 0.5, 9.0]]
    early = dc.TransformedKernel(dc.AutoregressiveKernel()).fit(dc.Trajectories.from_arrays([first]), edges)
    forward = dc.TransformedKernel(dc.AutoregressiveKernel())
    found = forward.fit_forward(dc.Trajectories.from_arrays([first, second]), edges, [len(first)])
    np.testing.assert_allclose(found[0].matrix, early.kernel_.matrix)


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        ({"transform": "log"}, [1.0, 0.0, 2.0], r"transform == 'log': x holds 0, must lie strictly in \(0, inf\)"),
        ({"transform": "sqrt"}, [1.0, 2.0, 3.0], "transform == 'sqrt', must be one of 'auto', 'identity'"),
        ({"transform": ["log", "log"]}, [1.0, 2.0, 3.0], "transform holds 2, must hold one for each of 1"),
        ({"transform": "logit"}, [0.5, 0.6, 1 - 1e-16], "comes too near an end"),
        ({"estimator": "counts"}, [1.0, 2.0, 3.0], "estimator is a str"),
    ],
)
def test_bad_input_is_named(options, values, message):
    with pytest.raises(ArgumentError, match=message):
        dc.TransformedKernel(**{"estimator": dc.CountKernel(), "transform": "log"} | options).fit(
            dc.Trajectories.from_arrays([values])
        )


def test_edges_that_the_transform_does_not_hold_say_what_to_do():
    runs = dc.Trajectories.from_arrays([[1.0, 2.0, 3.0]])
    with pytest.raises(ArgumentError, match="around a stack rather than into it"):
        dc.TransformedKernel(dc.CountKernel(), "log").fit(runs, [0.0, 2.0, 4.0])


def test_what_an_estimator_says_is_marked_as_of_its_own_scale():
    x = np.exp(walk(np.random.default_rng(9), 60))
    stack = dc.StackedKernel([dc.AutoregressiveKernel(), dc.CountKernel()])
    fitted = dc.TransformedKernel(stack, "log").fit(dc.Trajectories.from_arrays([x]))
    assert fitted.kernel_.notes[0].startswith("in its log: weights AutoregressiveKernel")
    same = dc.TransformedKernel(stack, "identity").fit(dc.Trajectories.from_arrays([x]))
    assert same.kernel_.notes[0].startswith("weights AutoregressiveKernel")
