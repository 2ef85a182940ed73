"""What comes inside the package: it loads without a network, is small, says what it is, and has learnt to read runs."""

import numpy as np
import pytest
from tests.conftest import one_by_one

import descentcast as dc
from descentcast.language_models import Forest, known_models, load_model, located, pull
from descentcast.language_models._shipped import card, decoder_names, megabytes, shipped_adapter, shipped_decoder
from descentcast.scoring import bhattacharyya


@pytest.fixture(scope="module")
def small():
    return load_model("descent-small")


def test_the_decoder_is_small_and_its_card_says_what_it_is():
    folder = shipped_decoder("descent-small")
    assert megabytes(folder) <= 10
    about = card(folder)
    assert {"trained_on", "core_hours", "tokens", "licence", "reproduce", "development_divergence"} <= set(about)
    assert decoder_names() == ["descent-small"]
    assert pull("descent-small") == located("descent-small") == folder
    assert {row["name"]: row["licence"] for row in known_models()}["descent-small"] == about["licence"]


def test_nothing_that_is_no_name_is_taken_for_one():
    assert shipped_decoder("../trained/descent-small") is None
    assert shipped_adapter("gemma3-270m") is None


def test_its_branches_are_exact_and_it_answers_with_digits_alone(small):
    rng = np.random.default_rng(0)
    parents = np.array([-1, 0, 1, -1, 3])
    forest = Forest(rng.integers(0, 12, 50), [10, 49], rng.integers(0, 10, 5), [20, 20, 20, 49, 49], parents)
    answer = small.log_probs(forest)
    for ours, one in zip((answer.prompt, answer.nodes), one_by_one(small, forest), strict=True):
        digits = np.exp(one[:, :10])
        np.testing.assert_allclose(np.exp(ours[:, :10]), digits / digits.sum(axis=1, keepdims=True), atol=1e-5)
        assert (np.exp(ours[:, 10:]) == 0).all()
    assert (answer.outside == 0).all()


def test_the_adapter_is_small_and_says_what_it_is():
    folder = shipped_adapter("smollm2-135m")
    assert folder is not None
    assert megabytes(folder) <= 12
    about = card(folder)
    assert {"base_fingerprint", "trained_on", "core_hours", "tokens", "licence", "reproduce"} <= set(about)
    assert {row["name"]: row["adapter"] for row in known_models()}["smollm2-135m"] == "shipped, 9.8 MB"


@pytest.mark.slow
@pytest.mark.model
def test_the_adapter_is_the_default_and_the_frozen_model_stays_at_hand():
    """Of its own weights; it has learnt restarts, and reads a double well far better than the frozen model."""
    adapted, frozen = dc.load_model("smollm2-135m"), dc.load_model("smollm2-135m", adapter=None)
    assert (adapted.restarts, frozen.restarts) == (True, False)
    assert adapted.fingerprint != frozen.fingerprint
    problem = dc.problems.DoubleWell(step_size=0.15)
    runs = problem.simulate([-1.2, -0.4, 0.4, 1.2], 29, 0)
    distance = []
    for model in (adapted, frozen):
        fitted = dc.InContextKernel(model, views=1).fit(runs)
        rows = [kernel.matrix for kernel in (fitted.kernel_, problem.kernel(fitted.edges_))]
        distance.append(bhattacharyya(*(each / each.sum(axis=1, keepdims=True) for each in rows)).mean())
    assert distance[0] < 0.6 * distance[1]


@pytest.mark.slow
def test_it_reads_a_whole_kernel_off_one_context(small):
    """Rows of a double well are nearer to the truth than the marginal law of the runs, seen or not.

    Those nobody saw in squared Hellinger distance, which is bounded: a few far outside that miss the truth would decide
    a mean of Bhattacharyya distances.
    """
    problem = dc.problems.DoubleWell(step_size=0.15)
    runs = problem.simulate([-1.2, -0.4, 0.4, 1.2], 59, 0)
    fitted = dc.InContextKernel("descent-small", views=2).fit(runs)
    assert set(fitted.kernel_.evidence.source) == {"visited", "probed"}
    truth = problem.kernel(fitted.edges_).matrix
    truth = truth / truth.sum(axis=1, keepdims=True)
    values = np.concatenate([t.values[:, 0] for t in runs])
    marginal = np.histogram(values, fitted.edges_)[0] + 0.1
    visited = fitted.kernel_.evidence.visits > 0
    rows = fitted.kernel_.matrix / fitted.kernel_.matrix.sum(axis=1, keepdims=True)
    laws = rows, np.broadcast_to(marginal / marginal.sum(), truth.shape)
    read, known = (bhattacharyya(law, truth) for law in laws)
    assert read[visited].mean() < 0.3 * known[visited].mean()
    read, known = (1 - np.exp(-distance) for distance in (read, known))
    assert read[~visited].mean() < 0.7 * known[~visited].mean()
