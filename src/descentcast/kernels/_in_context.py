"""The language-model estimator: what is read, completed and resampled, with scikit-learn's habits."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from descentcast import _checks, language_models
from descentcast._types import Edges, RandomState
from descentcast.densities import most_values
from descentcast.errors import ArgumentError
from descentcast.kernels._base import KernelEstimator
from descentcast.kernels._beginnings import beginning
from descentcast.kernels._completion import METHODS
from descentcast.kernels._forward_reading import read_beginnings
from descentcast.kernels._grid import CELLS_PER_SPREAD, as_trajectories, grids_of, one_step_spread
from descentcast.kernels._joint import fit_joint
from descentcast.kernels._kernel import TransitionKernel
from descentcast.kernels._principal import fit_principal
from descentcast.kernels._reading import BOTH, PROBED, VISITED, Reading, read_kernel
from descentcast.language_models import LanguageModel
from descentcast.trajectories import Trajectories


class InContextKernel(KernelEstimator):
    """Transition kernel read off a language model, in context.

    The estimand is the kernel on the cells of a grid, `P_ij = 1/|c_i| * integral over c_i of P(x, c_j) dx`. The runs
    are written as digits into one prompt. `rows="visited"`: the density read after x_t is a draw of the row of x_t's
    cell; the visits of a cell are averaged, later ones counting more in proportion to the context they have seen.
    `rows="probed"`: after the whole context each cell's centre is written as the start of a new run and the next
    density read. `rows="both"`: the mixture of the two kernels, off one prompt, with rows read at visits weighing
    `1/2 / (1 + d)` at d typical steps outside the hull of the visited states. Rows that are not read are
    completed between their neighbours and extrapolated outside them. Rows that are read keep to the grid: no run in the
    context has left it, and what a model puts outside is noise that would leak at every step, so that divergence is
    forecast by extrapolated rows only.

    Args:
        model: A catalogue name, folder, GGUF or hub id, or a loaded model.
        digits: Digits a value is written with.
        views: How many encodings are read and pooled; how they are pooled is chosen by the iterated log score on the
            context.
        rows: "visited" (the paper's), "probed", "both", or "auto": both with a model trained on restarts, else visited.
            Runs longer than a model reads are probed only.
        completion: "quantile" (exact Wasserstein-2 barycenter), "sinkhorn" (the paper's, debiased) or "nearest".
        coordinates: "independent": one kernel a coordinate, as in the paper; `couple` makes its block matrix of them.
            "pca": one a principal component of the runs' values (DICL, arXiv 2410.11711). "joint": all coordinates of a
            state in one context, their digits adjoining, read at each state that a forecast comes to.
        random_state: Seed of views and resamples.
        progress: Called with (views read, views in all), for a progress bar.

    Attributes:
        kernel_: The fitted `TransitionKernel`, or a tuple of them, one a coordinate; a `PrincipalKernel` or a
            `JointKernel`, whose scores are those of components, or of all coordinates together, and whose replicates
            are kernels of the components, or none.
        replicates_: Kernels from resampled views and blocks of visits, in the form of `kernel_`: what the rows would
            have been by chance. They do not hold the model's own bias; probed rows are resampled over views only, and
            not at all where there is one view.
        rules_: How the views were pooled, one of "log", "linear", "identity" a coordinate.
        log_score_: Average log density of the context's own transitions, nats a step, a coordinate. In sample: the rule
            was chosen on the same runs, and probed rows have read them.
        outside_mass_: Mass that the model put on anything but digits, averaged over a sample of positions.
        pruned_mass_: Largest mass of a row that was not refined to the last digit.

    Raises:
        ArgumentError: A parameter out of range, at `fit`.

    Examples:
        >>> import descentcast as dc
        >>> dc.InContextKernel(views=2).get_params()["views"]
        2
    """

    unevenness = 0.08  # chosen on development problems, where 0.05 to 0.12 do nearly as well

    def __init__(
        self,
        model: str | LanguageModel = "smollm2-135m",
        digits: int = 2,
        views: int = 4,
        rows: str = "auto",
        completion: str = "quantile",
        coordinates: str = "independent",
        random_state: RandomState = 0,
        progress: Callable[[int, int], Any] | None = None,
    ) -> None:
        self.model = model
        self.digits = digits
        self.views = views
        self.rows = rows
        self.completion = completion
        self.coordinates = coordinates
        self.random_state = random_state
        self.progress = progress

    def fit(self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None = None) -> Self:
        """Read the kernel of each coordinate off recorded runs.

        Args:
            trajectories: The runs.
            edges: Cell edges, shape (n + 1,), or one array a coordinate; by default the grid rule of `default_edges`.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: A parameter out of range, runs that are not `Trajectories`, values outside the edges.
            ModelError: The model cannot be had, or reads too few symbols for the runs.
        """
        runs = as_trajectories(trajectories)
        self._check_parameters()
        if self.coordinates != "independent":
            return self._fit_together(runs, edges)
        grids, notes = grids_of(runs, edges)
        streams = _checks.generator(self.random_state).spawn(len(grids))
        return self._fit(self._model(), runs, grids, streams, notes, self.progress)

    def _fit(
        self,
        model: LanguageModel,
        runs: Trajectories,
        grids: tuple[Edges, ...],
        streams: Sequence[np.random.Generator],
        notes: Sequence[str | None],
        progress: Callable[[int, int], Any] | None,
    ) -> Self:
        readings = []
        for i, (grid, rng) in enumerate(zip(grids, streams, strict=True)):
            tick = _ticker(progress, i * self.views, len(grids) * self.views)
            readings.append(self._read(model, runs.coordinate(i), grid, rng, tick))
        kernels = tuple(
            self._finished(replace(r.kernel, notes=self._notes(runs, i, grids[i], r)), runs, i, notes[i])
            for i, r in enumerate(readings)
        )
        self.n_features_in_ = len(grids)
        self.edges_ = grids[0] if len(grids) == 1 else grids
        self.kernel_ = kernels[0] if len(kernels) == 1 else kernels
        vars(self).pop("replicates_", None)
        self._readings = readings
        self.rules_ = [r.rule for r in readings]
        self.log_score_ = [r.log_score for r in readings]
        self.outside_mass_ = float(np.mean([r.outside_mass for r in readings]))
        self.pruned_mass_ = max(r.pruned_mass for r in readings)
        return self

    def _fit_together(self, runs: Trajectories, edges: ArrayLike | Sequence[ArrayLike] | None) -> Self:
        if self.coordinates == "pca":
            inner = copy.copy(self)
            inner.coordinates = "independent"
            kernel: Any = fit_principal(inner, runs, edges)
            self._readings, self.rules_, self.log_score_ = inner._readings, inner.rules_, inner.log_score_
            self.outside_mass_, self.pruned_mass_ = inner.outside_mass_, inner.pruned_mass_
        else:
            grids = grids_of(runs, edges)[0]
            found = fit_joint(self._model(), runs, grids, self.digits, self.views, self.random_state)
            _ticker(self.progress, 0, self.views)(self.views)
            kernel, self._readings, self.rules_ = found.kernel, [], [f"linear {found.kernel.weight:g}"]
            self.log_score_, self.outside_mass_, self.pruned_mass_ = [found.log_score], found.outside_mass, 0.0
        vars(self).pop("replicates_", None)
        self.kernel_ = kernel
        grids = tuple(marginal.edges for marginal in kernel.marginals)
        self.n_features_in_, self.edges_ = len(grids), grids[0] if len(grids) == 1 else grids
        return self

    def fit_forward(
        self, trajectories: Trajectories, edges: ArrayLike | Sequence[ArrayLike], known: Sequence[int]
    ) -> list[TransitionKernel | tuple[TransitionKernel, ...]]:
        """Fit, and return the kernels of beginnings of the runs: see `KernelEstimator.fit_forward`.

        Densities read at visits serve all beginnings; probes of all of them share one more pass over the context.
        Contexts longer than the model reads are shown in excerpts, anew for each beginning.
        """
        runs = as_trajectories(trajectories)
        self._check_parameters()
        if self.coordinates != "independent":
            raise ArgumentError(
                f"coordinates == {self.coordinates!r}, must be 'independent' in a stack and wherever each coordinate "
                "is scored by itself"
            )
        grids, notes = grids_of(runs, edges)
        model, progress = self._model(), self.progress
        rows = self._rows(model)
        if sum(map(len, runs)) > most_values(model, self.digits):
            # Beginnings that fit are read as the whole is, which does not.
            alike = copy.copy(self)
            alike.rows = PROBED if rows == BOTH else rows
            found = [copy.copy(alike).fit(beginning(runs, count), edges).kernel_ for count in known]
            self.fit(runs, edges)
            return found
        total = 2 * self.views * len(grids)
        streams = _checks.generator(self.random_state).spawn(len(grids))
        again = copy.deepcopy(streams)
        self._fit(model, runs, grids, streams, notes, (lambda done, _: progress(done, total)) if progress else None)
        if not known:
            return []
        cheap = "quantile" if self.completion == "sinkhorn" else self.completion
        ticks = [_ticker(progress, total // 2 + i * self.views, total) for i in range(len(grids))]
        read = [
            read_beginnings(model, column, grid, self.digits, self.views, rows, cheap, known, rng, tick)
            for column, grid, rng, tick in zip(
                map(runs.coordinate, range(len(grids))), grids, again, ticks, strict=True
            )
        ]
        return [kernels[0] if len(grids) == 1 else kernels for kernels in zip(*read, strict=True)]

    @cached_property
    def replicates_(self) -> list[TransitionKernel] | list[tuple[TransitionKernel, ...]]:
        """Kernels of 40 resamples, in the form of `kernel_`; made when first asked for, none if nothing can be drawn.

        Raises:
            AttributeError: The estimator is not fitted.
        """
        if not hasattr(self, "kernel_"):
            raise AttributeError(f"{type(self).__name__} has no replicates_ before fit")
        drawn = list(zip(*(reading.replicates for reading in self._readings), strict=True))
        return [kernels[0] for kernels in drawn] if len(self._readings) == 1 else drawn

    @property
    def label(self) -> str:
        """Class and language model."""
        return f"{type(self).__name__}({self.model if isinstance(self.model, str) else self.model.name})"

    def _fit_coordinate(self, index: int, columns: list[np.ndarray], edges: Edges) -> TransitionKernel:
        return self._read(
            self._model(), columns, edges, _checks.generator(self.random_state), _ticker(None, 0, 0)
        ).kernel

    def _read(
        self,
        model: LanguageModel,
        columns: list[np.ndarray],
        edges: Edges,
        rng: np.random.Generator,
        tick: Callable[[int], Any],
    ) -> Reading:
        rows = self._rows(model)
        return read_kernel(model, columns, edges, self.digits, self.views, rows, self.completion, rng, tick)

    def _model(self) -> LanguageModel:
        return language_models.loaded(self.model)

    def _rows(self, model: LanguageModel) -> str:
        return self.rows if self.rows != "auto" else BOTH if model.restarts else VISITED

    def _notes(self, runs: Trajectories, index: int, edges: Edges, reading: Reading) -> tuple[str, ...]:
        notes = []
        spread, code = one_step_spread(*runs.transitions(index)), float(edges[-1] - edges[0]) / 10**self.digits
        if spread < CELLS_PER_SPREAD * code:
            notes.append(
                f"the typical one-step spread ({spread:.3g}) is only {spread / code:.2g} of the steps that "
                f"{self.digits} digits can write, below {CELLS_PER_SPREAD:g}: read more digits"
            )
        if not reading.streams:
            notes.append("no intervals: every row was probed in one view, so there is nothing to resample")
        return tuple(notes)

    def _check_parameters(self) -> None:
        _checks.integer("digits", self.digits, low=1, high=4)
        _checks.integer("views", self.views, low=1, high=64)
        _checks.one_of("rows", self.rows, ("auto", VISITED, PROBED, BOTH))
        _checks.one_of("completion", self.completion, METHODS)
        _checks.one_of("coordinates", self.coordinates, ("independent", "pca", "joint"))
        if self.coordinates == "joint" and self.rows in (VISITED, BOTH):
            raise ArgumentError(f"rows == {self.rows!r}, must be 'auto' or 'probed' for joint coordinates")


def _ticker(progress: Callable[[int, int], Any] | None, done: int, total: int) -> Callable[[int], Any]:
    return (lambda read: progress(done + read, total)) if progress else (lambda read: None)
