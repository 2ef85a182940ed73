"""Settings that nobody ran: recorded runs, fitted estimators and kernels carried to other step and batch sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np

from descentcast import _checks
from descentcast._shown import Shown
from descentcast._types import Edges
from descentcast.errors import ArgumentError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._grid import MOST_CELLS, USUAL_CELLS, as_trajectories, one_step_spread
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._local_linear import LocalLinearKernel
from descentcast.trajectories import Trajectories

Kernels = TransitionKernel | tuple[TransitionKernel, ...]
# Finer than the grid rule asks: the blur of the cells is not stretched along with the noise.
CELLS_PER_SPREAD = 2.0
# Beyond the hull, in its lengths and in standard deviations of one step.
MARGIN_HULL, MARGIN_SPREADS = 0.1, 3.0


@dataclass(frozen=True, eq=False, repr=False)
class RescaledFit(Shown):
    """A fitted estimator at another step size or batch size: what `forecast` takes in place of the estimator.

    Attributes:
        fitted: What was fitted at the setting that was run.
        step: New step size over that of the runs.
        batch: New batch size over that of the runs.
        kernel_: `fitted.kernel_`, each kernel rescaled.
        replicates_: `fitted.replicates_`, rescaled; empty where there are none. Made when first asked for.
    """

    fitted: Any
    step: float
    batch: float
    kernel_: Kernels = field(repr=False)

    @cached_property
    def replicates_(self) -> list[Kernels]:
        """Kernels of resampled runs, rescaled, in the form of `kernel_`."""
        return [_moved(kernel, self.step, self.batch) for kernel in getattr(self.fitted, "replicates_", None) or ()]

    @property
    def label(self) -> str:
        """What it is called in tables."""
        return f"{getattr(self.fitted, 'label', type(self.fitted).__name__)}, {_ratios(self.step, self.batch)}"


@dataclass(frozen=True, eq=False, repr=False)
class RescaledRuns(Shown):
    """Runs at one setting that stand for runs at another: an arm of a trial that nobody ran.

    Nothing is made up: the runs stay as they were recorded, and `fit` carries the kernel that they give to the other
    setting by `TransitionKernel.rescaled`. Exact for plain SGD in the step size, in two moments in the batch size; for
    momentum and adaptive methods an approximation.

    Attributes:
        runs: The recorded runs.
        step: New step size over that of the runs.
        batch: New batch size over that of the runs.
    """

    runs: Trajectories
    step: float = 1.0
    batch: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return self.runs.names

    @property
    def setting(self) -> Mapping[str, Any]:
        """The setting that the runs share, with `step` and `batch` multiplied."""
        setting = dict(self.runs.setting)
        for key, ratio in (("step", self.step), ("batch", self.batch)):
            if isinstance(setting.get(key), (int, float, np.number)):
                setting[key] = setting[key] * ratio
        return setting

    def __len__(self) -> int:
        return len(self.runs)

    def fit(self, estimator: KernelEstimator | None = None, edges: Any = None) -> RescaledFit:
        """Fit an estimator to the runs as they are and carry it to the other setting.

        Args:
            estimator: An estimator; a fresh copy is fitted. `LocalLinearKernel()` by default.
            edges: Cell edges, or one array a coordinate; by default those of `rescaled_edges`.

        Returns:
            The fit, with `kernel_` and `replicates_` at the other setting.

        Raises:
            ArgumentError: Something other than an estimator, edges that do not fit.

        Examples:
            >>> import descentcast as dc
            >>> runs = dc.problems.Quadratic(step_size=0.1).simulate([2.0, -2.0], steps=200)
            >>> fit = rescale(runs, step=3).fit()
            >>> round(fit.kernel_.setting["step"], 6), len(fit.replicates_)
            (0.3, 40)
        """
        own = LocalLinearKernel() if estimator is None else estimator
        if not isinstance(own, KernelEstimator):
            raise ArgumentError(
                f"estimator is a {type(own).__name__}, must be an estimator such as LocalLinearKernel()"
            )
        if edges is None:
            edges = [rescaled_edges(self.runs, i, self.step, self.batch) for i in range(len(self.names))]
        fitted = type(own)(**own.get_params(deep=False)).fit(self.runs, edges)
        return RescaledFit(fitted, self.step, self.batch, _moved(fitted.kernel_, self.step, self.batch))


@overload
def rescale(value: Trajectories, step: float | None = None, batch: float | None = None) -> RescaledRuns: ...
@overload
def rescale(value: TransitionKernel, step: float | None = None, batch: float | None = None) -> TransitionKernel: ...
@overload
def rescale(value: Any, step: float | None = None, batch: float | None = None) -> Any: ...
def rescale(value: Any, step: float | None = None, batch: float | None = None) -> Any:
    """Carry runs, a fitted estimator or a kernel to another step size or batch size.

    In plain SGD `x' - x = -step * g(x, batch)`, so that `step` times the step size stretches every increment by that
    factor, and `batch` times the batch size divides the noise's variance by it: see `TransitionKernel.rescaled`.

    Args:
        value: `Trajectories`, a fitted estimator, a `TransitionKernel` or a tuple of them.
        step: New step size over the old one, greater than 0; None leaves it.
        batch: New batch size over the old one, greater than 0; None leaves it.

    Returns:
        For runs `RescaledRuns`, which an arm of a trial may be and whose `fit` takes an estimator; for a fitted
        estimator a `RescaledFit`, which `forecast` takes; for kernels kernels.

    Raises:
        ArgumentError: A ratio that is not a positive number, something that cannot be rescaled.

    Examples:
        >>> import descentcast as dc
        >>> runs = dc.problems.Quadratic(step_size=0.1).simulate([2.0, -2.0], steps=100)
        >>> dict(rescale(runs, step=3).setting)
        {'step': 0.30000000000000004}
        >>> estimator = dc.LocalLinearKernel().fit(runs)
        >>> dc.forecast(rescale(estimator, step=0.5), [1.0], steps=100).steps
        100
    """
    step = 1.0 if step is None else _checks.real("step", step, low=0, open_low=True)
    batch = 1.0 if batch is None else _checks.real("batch", batch, low=0, open_low=True)
    if isinstance(value, Trajectories):
        return RescaledRuns(value, step, batch)
    if isinstance(value, RescaledRuns):
        return RescaledRuns(value.runs, value.step * step, value.batch * batch)
    if isinstance(value, TransitionKernel) or (
        isinstance(value, (tuple, list)) and value and all(isinstance(k, TransitionKernel) for k in value)
    ):
        return _moved(value if isinstance(value, TransitionKernel) else tuple(value), step, batch)
    if (kernel := getattr(value, "kernel_", None)) is not None:
        return RescaledFit(value, step, batch, _moved(kernel, step, batch))
    hint = " that is not fitted: call fit first" if hasattr(value, "fit") else ""
    raise ArgumentError(
        f"value is a {type(value).__name__}{hint}"
        + ("" if hint else ", must be Trajectories, a fitted estimator, a TransitionKernel or a tuple of them")
    )


def rescaled_edges(
    runs: Trajectories,
    coordinate: int = 0,
    step: float = 1.0,
    batch: float = 1.0,
    hull: tuple[float, float] | None = None,
) -> Edges:
    """Return a grid for a kernel that is fitted to runs and then carried to another setting.

    The cells are to be narrow beside one step at the new setting, of spread `step / sqrt(batch)` times that of the
    runs (`default_edges`), and no wider than the spread of the runs, whose rows are carried over; up to 400 of them.
    At a larger step size runs wander further: the stationary spread of a quadratic grows by `sqrt(step)` at small
    steps, and the hull is widened by as much.

    Args:
        runs: The runs.
        coordinate: Index of the coordinate.
        step: New step size over the old one.
        batch: New batch size over the old one.
        hull: What the grid has to cover, instead of the widened hull and its margin.
    """
    values = np.concatenate(as_trajectories(runs).coordinate(coordinate))
    spread = one_step_spread(*runs.transitions(coordinate))
    there = spread * step / np.sqrt(batch)
    if hull is None:
        low, high = float(values.min()), float(values.max())
        length = high - low or max(abs(low), 1.0)
        margin = length * (MARGIN_HULL + max(np.sqrt(step) - 1, 0) / 2) + MARGIN_SPREADS * max(spread, there)
        hull = low - margin, high + margin
    narrowest = max(min(there / CELLS_PER_SPREAD, spread), (hull[1] - hull[0]) * 1e-6)
    needed = (hull[1] - hull[0]) / narrowest
    return np.linspace(*hull, int(np.clip(np.ceil(needed), USUAL_CELLS, MOST_CELLS)) + 1)


def _moved(kernel: Kernels, step: float, batch: float) -> Kernels:
    if isinstance(kernel, TransitionKernel):
        return kernel.rescaled(step, batch)
    return tuple(k.rescaled(step, batch) for k in kernel)


def _ratios(step: float, batch: float) -> str:
    return f"step size x {step:g}" + (f", batch size x {batch:g}" if batch != 1 else "")
