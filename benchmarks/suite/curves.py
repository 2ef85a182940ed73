"""Loss curves of real training: minibatch SGD on the reporting problems, small networks on scikit-learn's digits.

A curve is the logarithm of a loss at every optimizer step, from the loss before the first step on.
"""

from collections.abc import Callable

import numpy as np
import torch
from benchmarks.suite.chains import generator
from sklearn.datasets import load_digits

from descentcast import problems
from descentcast.problems._finite_sum import FiniteSum

LENGTH = 200
HELD_OUT = 360


def problem_curve(problem: FiniteSum, starts: tuple[float, float], minibatch: bool) -> Callable[[str, int], np.ndarray]:
    """Return a family: the loss of each step's own batch, or the full loss, along a run of a problem."""

    def curve(name: str, seed: int) -> np.ndarray:
        rng = generator("curve", name, seed)
        w, losses = rng.uniform(*starts, size=(1, 1)), []
        for _ in range(LENGTH):
            batch = rng.integers(len(problem.targets), size=problem.batch_size)
            losses.append(
                problem.example_losses(w, problem.features[batch], problem.targets[batch]).mean()
                if minibatch
                else float(problem.loss(w[..., 0] if len(problem.coordinates) == 1 else w)[0])
            )
            gradients = problem.example_gradients(w, problem.features[batch], problem.targets[batch])
            w = w - problem.step_size * gradients.mean(axis=0)
        return np.log(losses)

    return curve


def network_curve(optimizer: str, rate: float, held_out: bool) -> Callable[[str, int], np.ndarray]:
    """Return a family: a network with one hidden layer on digits; the loss of each batch, or of held-out images."""

    def curve(name: str, seed: int) -> np.ndarray:
        rng = generator("curve", name, seed)
        images, labels = (torch.as_tensor(a) for a in load_digits(return_X_y=True))
        order = torch.as_tensor(rng.permutation(len(images)))
        images, labels = (images[order] / 16).float(), labels[order].long()
        network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
        draws = torch.Generator().manual_seed(int(rng.integers(2**31)))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.empty_like(p).uniform_(-1, 1, generator=draws) / p.shape[-1] ** 0.5)
        steps = getattr(torch.optim, optimizer)(network.parameters(), lr=rate)
        losses = []
        for _ in range(LENGTH):
            batch = torch.as_tensor(rng.integers(HELD_OUT, len(images), size=32))
            loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
            with torch.no_grad():
                outside = torch.nn.functional.cross_entropy(network(images[:HELD_OUT]), labels[:HELD_OUT])
            losses.append(float(outside if held_out else loss.detach()))
            steps.zero_grad()
            loss.backward()
            steps.step()
        return np.log(losses)

    return curve


CURVES: dict[str, Callable[[str, int], np.ndarray]] = {
    "logistic, batch loss": problem_curve(
        problems.LogisticRegression(step_size=0.5, batch_size=32), (-3.0, -1.0), minibatch=True
    ),
    "linear, full loss": problem_curve(problems.LinearRegression(step_size=0.05, batch_size=2), (3.0, 5.0), False),
    "one neuron, full loss": problem_curve(problems.OneNeuron(step_size=0.05), (-1.5, -0.7), minibatch=False),
    "digits SGD, batch loss": network_curve("SGD", 0.2, held_out=False),
    "digits SGD, held-out loss": network_curve("SGD", 0.2, held_out=True),
    "digits Adam, held-out loss": network_curve("Adam", 0.005, held_out=True),
}


def curve_of(family: str, seed: int) -> np.ndarray:
    """Return the log losses of one run of a family, shape (200,)."""
    return CURVES[family](family, seed)
