"""What is recorded of a training, by name or as objects: loss, norms, distance, single weights, any function."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch

from descentcast import _checks
from descentcast.errors import ArgumentError, DataError
from descentcast.trajectories.recording._heavy_tail import HeavyTail
from descentcast.trajectories.recording._host import HostArrays, HostGradients, blocks, distance, norm, on_host
from descentcast.trajectories.recording._projection import Projection
from descentcast.trajectories.recording._state import Measured, Meter, Observable, State, norms, total

Given: TypeAlias = str | Observable | Callable[[State], Any]

BUCKET = 2**24  # Entries of the parameters that are subtracted at a time.


@dataclass(frozen=True)
class Loss:
    """The minibatch loss whose gradient the step takes: the sum of what `backward` was called on since the last step.

    Where gradients are accumulated over micro-batches, each divided by their number, that is their mean. What was
    called before the gradients were emptied (`zero_grad`) does not count, nor do further evaluations by a closure at
    moved parameters. Under `GradScaler` it is the unscaled loss.
    """

    def bind(self, state: State) -> Meter:
        """Return the meter of the loss."""
        return Meter(("loss",), _loss, moment="gradients", plain=True)


@dataclass(frozen=True)
class GradientNorm:
    """The Euclidean norm of all gradients as the step takes them: unscaled, and clipped where the loop clips."""

    def bind(self, state: State) -> Meter:
        """Return the meter of the gradients' norm."""
        tensors = list(state.parameters.values())
        gradients = HostGradients(tensors) if on_host(tensors) else None

        def measure(state: State) -> float | list[torch.Tensor]:
            arrays = gradients() if gradients is not None else None
            if arrays is not None:
                return norm(arrays) if state.scale is None else norm(arrays) / float(state.scale)
            with torch.no_grad():
                found = norms(state.gradients)
                return found if state.scale is None else list(torch._foreach_div(found, state.scale))  # pyright: ignore[reportPrivateImportUsage]

        return Meter(("gradient_norm",), measure, total, moment="gradients", plain=True)


@dataclass(frozen=True)
class ParameterNorm:
    """The Euclidean norm of all parameters that the optimizer moves."""

    def bind(self, state: State) -> Meter:
        """Return the meter of the parameters' norm."""
        tensors = list(state.parameters.values())
        if on_host(tensors):
            arrays = HostArrays(tensors, blocks)
            return Meter(("parameter_norm",), lambda _: norm(arrays()), plain=True)
        return Meter(("parameter_norm",), lambda _: norms(tensors), total)


@dataclass(frozen=True)
class Distance:
    """The Euclidean distance of the parameters from where recording started. Keeps a copy of them."""

    def bind(self, state: State) -> Meter:
        """Return the meter of the distance from `state`."""
        tensors = list(state.parameters.values())
        if on_host(tensors):
            arrays = HostArrays(tensors, blocks)
            begun = [a.copy() for a in arrays()]
            scratch = np.empty(max(a.size for a in begun), dtype=begun[0].dtype)
            parts = [scratch[: a.size] for a in begun]
            return Meter(("distance",), lambda _: distance(arrays(), begun, parts), plain=True)
        starts = [p.detach().clone() for p in tensors]
        ends = [0]
        for i in range(1, len(tensors) + 1):
            if i == len(tensors) or sum(p.numel() for p in tensors[ends[-1] : i + 1]) > BUCKET:
                ends.append(i)
        slices = [slice(a, b) for a, b in pairwise(ends)]

        def measure(_: State) -> list[torch.Tensor]:
            return [n for s in slices for n in norms(torch._foreach_sub(tensors[s], starts[s]))]  # pyright: ignore[reportPrivateImportUsage]

        return Meter(("distance",), measure, total)


@dataclass(frozen=True)
class Scalar:
    """One entry of one parameter.

    Attributes:
        parameter: The parameter's name in the model.
        index: Where in it, one integer a dimension; none for a parameter that is a scalar.
    """

    parameter: str
    index: tuple[int, ...] = ()

    def bind(self, state: State) -> Meter:
        """Return the meter of the entry.

        Raises:
            ArgumentError: The optimizer moves no such parameter, or it has no such entry.
        """
        tensor = state.parameters.get(self.parameter)
        if tensor is None:
            there = ", ".join(list(state.parameters)[:20])
            raise ArgumentError(f"observables: no parameter {self.parameter!r} is trained, there are {there}")
        shape, index = tuple(tensor.shape), self.index
        if len(index) != len(shape) or not all(-n <= i < n for i, n in zip(index, shape, strict=True)):
            raise ArgumentError(f"observables: {self.parameter!r} has shape {shape}, there is no entry {list(index)}")
        name = f"{self.parameter}[{','.join(map(str, index))}]" if index else self.parameter
        return Meter((name,), lambda _: tensor[index].detach().clone())  # A view would change with the weight.


@dataclass(frozen=True)
class Call:
    """Any function of the training's state, such as a validation metric.

    It is called without gradients, right before a recorded step; torch's random numbers go on afterwards as if it had
    not been called. A model that it puts into evaluation mode it must put back.

    Attributes:
        name: The column's name; of several columns `name:0`, `name:1`, ...
        function: From a `State` to a number, a tensor of one entry, or `columns` of them.
        columns: How many numbers it returns.
    """

    name: str
    function: Callable[[State], Any]
    columns: int = 1

    def bind(self, state: State) -> Meter:
        """Return the meter that calls the function."""
        columns = _checks.integer("columns", self.columns, low=1)
        names = (self.name,) if columns == 1 else tuple(f"{self.name}:{i}" for i in range(columns))

        def measure(state: State) -> Measured:
            with _untouched(state):
                value = self.function(state)
            if isinstance(value, torch.Tensor):
                found = value.detach().clone().reshape(-1)  # Tensors are read later: theirs may change.
            else:
                found = _checks.numeric(self.name, value).reshape(-1).tolist()
            if len(found) != columns:
                raise DataError(f"{self.name} returned {len(found)} number(s), must be {columns}")
            return found

        return Meter(names, measure)


@dataclass(frozen=True)
class Cadence:
    """Another observable, at every so many-th recorded step only.

    Attributes:
        observable: What to record.
        every: How rarely.
    """

    observable: Given
    every: int

    def bind(self, state: State) -> Meter:
        """Return the observable's meter, slowed down."""
        meter = observable(self.observable).bind(state)
        return replace(meter, every=meter.every * _checks.integer("every", self.every, low=1))


NAMED: dict[str, Callable[[], Observable]] = {
    "loss": Loss,
    "gradient_norm": GradientNorm,
    "parameter_norm": ParameterNorm,
    "distance": Distance,
    "alpha": HeavyTail,
}


def observable(given: Given) -> Observable:
    """Return what a name, an observable or a function stands for.

    Raises:
        ArgumentError: None of these, or a name that nothing has.
    """
    if isinstance(given, Observable):
        return given
    if callable(given):
        return Call(getattr(given, "__name__", "call"), given)
    if not isinstance(given, str):
        raise ArgumentError(f"observables: {given!r:.60} must be a name, an observable or a function of the state")
    if given in NAMED:
        return NAMED[given]()
    if match := re.fullmatch(r"projection:([1-9]\d*)", given):
        return Projection(int(match[1]))
    if match := re.fullmatch(r"(.+?)\[\s*(-?\d+(?:\s*,\s*-?\d+)*)\s*\]", given):
        return Scalar(match[1], tuple(int(i) for i in match[2].split(",")))
    allowed = ", ".join([*NAMED, "projection:K", "PARAMETER[INDEX]"])
    raise ArgumentError(f"observables: {given!r} is unknown, must be one of {allowed}, an observable or a function")


def step_size(rates: Callable[[], list[float]]) -> Meter:
    """Return the meter of the step size of each group of parameters, of those that there are at the beginning."""
    count = len(rates())
    names = ("step_size",) if count == 1 else tuple(f"step_size:{i}" for i in range(count))

    def measure(_: State) -> list[float]:
        found = rates()
        return found if len(found) == count else found[:count]

    return Meter(names, measure, plain=True)


def _loss(state: State) -> float | torch.Tensor | None:
    return state.heard


def _untouched(state: State) -> Any:
    """Return a context after which torch's generators are where they were."""
    devices = {p.device for p in state.parameters.values()}
    kinds = {device.type for device in devices} - {"cpu"}
    if len(kinds) > 1 or kinds & {"meta"}:
        return nullcontext()
    kind = next(iter(kinds), "cuda")
    return torch.random.fork_rng(devices=[d for d in devices if d.type == kind], device_type=kind)
