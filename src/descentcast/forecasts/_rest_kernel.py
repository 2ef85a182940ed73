"""The rest of a run by a kernel that is iterated from its last value."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from descentcast.encoding._coordinates import Transform
from descentcast.forecasts._marginal import start_laws
from descentcast.forecasts._rest import Curves, Past, lags_up_to
from descentcast.kernels import KernelEstimator, TransitionKernel, propagate
from descentcast.kernels._interpolation import walk
from descentcast.trajectories import Trajectories

LEAST_MASS = 1e-12


@dataclass(frozen=True, eq=False)
class KernelMember:
    """A kernel in the coordinate of the curves, and the weight that its forecasts of what is known gave it.

    Attributes:
        fitted: The fitted estimator.
        kernel: Its kernel.
        weight: Its weight beside the curves.
    """

    fitted: KernelEstimator
    kernel: TransitionKernel
    weight: float

    @cached_property
    def kernels(self) -> list[TransitionKernel]:
        """The kernels of resampled runs; the kernel itself where there are none."""
        return list(getattr(self.fitted, "replicates_", None) or [self.kernel])

    def on(self, edges: np.ndarray) -> TransitionKernel:
        """Return the kernel with its cells called otherwise: those of the values themselves."""
        return replace(self.kernel, edges=edges)

    def laws(self, start: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return density and overflow at steps 0, ..., `steps`, averaged over resampled kernels."""
        parts = [propagate(k, start_laws(k, np.array([start])), steps) for k in self.kernels]
        density, overflow = (np.mean([part[i][0] for part in parts], axis=0) for i in (0, 1))
        return density, overflow

    def draw(self, draws: int, paths: int, start: float, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Return paths, each draw by a resampled kernel of its own, shape (draws, paths, steps)."""
        chosen = rng.choice(len(self.kernels), draws, replace=draws > len(self.kernels))
        return np.stack([walk(self.kernels[k], np.array([start]), steps, paths, rng)[:, 0, 1:] for k in chosen])


def kernel_member(
    estimator: KernelEstimator, past: Past, found: Curves, transform: Transform, edges: np.ndarray, name: str
) -> KernelMember:
    """Fit a kernel to the run and the others, and weigh it against the curves by forecasts from the same origins.

    Args:
        estimator: The estimator; a fresh copy is fitted.
        past: What is known.
        found: The curves.
        transform: The coordinate of the kernel.
        edges: Its grid, in that coordinate.
        name: What the coordinate is called.
    """
    z = transform.forward(past.values)
    others = [transform.forward(o[np.isfinite(o)]) for o in past.others]
    runs = Trajectories.from_arrays([*others, z], names=[name])
    before = sum(len(o) for o in others)
    fresh = type(estimator)(**estimator.get_params(deep=False))
    earlier = fresh.fit_forward(runs, edges, [before + rows for rows, _ in found.rehearsed])
    kernel = fresh.kernel_
    assert isinstance(kernel, TransitionKernel)
    votes = [0.0]
    for (rows, rival), then in zip(found.rehearsed, earlier, strict=True):
        assert isinstance(then, TransitionKernel)
        lags = lags_up_to(len(z) - rows)
        came = past.values[rows:][lags - 1]
        own = _log_density(then, z[rows - 1], lags, transform.forward(came)) + transform.log_jacobian(came)
        votes.append(float(np.mean(own - rival)))
    return KernelMember(fresh, kernel, float(1 / (1 + np.exp(-np.clip(np.sum(votes), -50, 50)))))


def _log_density(kernel: TransitionKernel, start: float, lags: np.ndarray, came: np.ndarray) -> np.ndarray:
    density = propagate(kernel, start_laws(kernel, np.array([start])), int(lags[-1]))[0][0]
    cells = np.clip(kernel.cell(came), 0, len(kernel.matrix) - 1)
    return np.log(np.maximum(density[lags, cells], LEAST_MASS) / kernel.widths[cells])
