"""`record`: watch a PyTorch optimizer while it trains."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch

from descentcast import _checks
from descentcast.errors import ArgumentError
from descentcast.trajectories._trajectories import Trajectories, Trajectory
from descentcast.trajectories.recording._backward import listen
from descentcast.trajectories.recording._observables import Given, observable, step_size
from descentcast.trajectories.recording._session import Session, checked
from descentcast.trajectories.recording._state import State, named_parameters

DEFAULT: tuple[Given, ...] = ("loss",)
CHUNK = 100
# Of an optimizer's groups: what says how it computes rather than what, and what is recorded otherwise.
ASIDE = {"params", "param_names", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable"}


class Options(TypedDict, total=False):
    """The options that `record` and every adapter take."""

    every: int
    path: str | Path | None
    run: str | None
    arm: str | None
    setting: Mapping[str, Any] | None
    chunk: int


class Recorder:
    """Record a training, without a change to its loop.

    Row t holds what is known of the parameters after t steps, before the next one: x_t, the loss and the gradient at
    x_t, and the step size that the next step takes with it. Nothing is smoothed or averaged over steps. Steps that
    `GradScaler` skips are no steps. With accumulated gradients a row is an optimizer step, not a micro-batch.

    The loss is what the loop calls `backward` on: no argument names it. It is read as it is there, of this process.

    Args:
        optimizer: Whose steps are recorded.
        model: The model; names its parameters and is what functions are given.
        observables: Names, observables of `dc.recording`, or functions of a `State`. Names are `"loss"`,
            `"gradient_norm"`, `"parameter_norm"`, `"distance"` (from the start), `"projection:K"` (K random
            projections), `"alpha"` (heavy-tail exponent of each layer) and single weights as `"fc.weight[0,1]"`.
        every: Record every so many-th step.
        path: A file to write rows to as they come, ending in `.jsonl`; the settings go beside it. In memory only by
            default. `read` reads it back. Where it is there and `first_step` is after its first row, the recording
            goes on in a file beside it (`a.2.jsonl` after `a.jsonl`); `read` of the folder makes one run of both.
        run: What the run is called; the file's name by default.
        arm: The arm of a trial that the run belongs to.
        setting: What is to be known of the run besides the optimizer's class and options, the step size, torch's seed
            and, where it can be told from the first step, the batch size. Yours win.
        chunk: How many rows are written at once; a killed process loses at most those. After 5 seconds fewer are.
        first_step: The step of the first row, for a training that is resumed. `"distance"` is then the distance from
            where it was resumed.

    Raises:
        ArgumentError: Arguments of the wrong kind, an unknown observable or parameter, a file that is already there.

    Examples:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 1.0)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
        >>> with record(optimizer, model, ["weight[0,0]", "loss"]) as recorder:
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(1, 1)).square().sum().backward()
        ...         optimizer.step()
        >>> run = recorder.trajectory()
        >>> run.names, run.values.tolist()
        (('weight[0,0]', 'loss'), [[1.0, 1.0], [0.5, 0.25], [0.25, 0.0625]])
        >>> run.setting["optimizer"], run.setting["step"], run.setting["batch"]
        ('SGD', 0.25, 1)
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: torch.nn.Module,
        observables: Sequence[Given] = DEFAULT,
        *,
        every: int = 1,
        path: str | Path | None = None,
        run: str | None = None,
        arm: str | None = None,
        setting: Mapping[str, Any] | None = None,
        chunk: int = CHUNK,
        first_step: int = 0,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentError(f"optimizer is a {type(optimizer).__name__}, must be a torch.optim.Optimizer")
        if not isinstance(model, torch.nn.Module):
            raise ArgumentError(f"model is a {type(model).__name__}, must be a torch.nn.Module")
        self._optimizer, self._model, self._path, self._arm = optimizer, model, path, arm
        self._observables = observables_of(observables)
        self._every, self._chunk, self._run = checked(every, chunk, path, run)
        self._given = dict(setting or {})
        self._first_step = _checks.integer("first_step", first_step, low=0)
        self._session: Any = None  # A session once it has started; looked at in every step.
        self._endings: list[Callable[[], None]] = []
        self._watching: list[Callable[[], None]] = []  # Endings of what is on before recorded steps only.
        self._losses: list[float | torch.Tensor] = []
        self._evaluates = False  # Whether the step evaluates the loss itself, by a closure.
        self._evaluations = 0  # How often it has, counted while it does.
        self._batches: list[int] = []

    def __enter__(self) -> "Recorder":
        self.start()
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self.close(last_row=error is None)

    def start(self) -> None:
        """Start recording; `with` does it.

        Raises:
            ArgumentError: Already started, an observable that the model does not have, a file that is there.
        """
        if self._session is not None:
            raise ArgumentError("a recorder can be started once: record again for another run")
        groups = self._optimizer.param_groups
        parameters = named_parameters(self._model, groups)
        state = State(self._first_step, self._model, self._optimizer, parameters)
        meters = [step_size(lambda: [float(group["lr"]) for group in groups])] if all("lr" in g for g in groups) else []
        meters += [item.bind(state) for item in self._observables]
        self._session = Session(
            state,
            meters,
            every=self._every,
            path=self._path,
            chunk=self._chunk,
            run=self._run,
            arm=self._arm,
            setting=_described(self._optimizer) | self._given,
        )
        self._weights = list(parameters.values())
        self._hears = any(meter.moment == "gradients" for meter in meters)
        self._forward = self._model.register_forward_pre_hook(_OwnHook(self._see_batch), with_kwargs=True)
        after = self._optimizer.register_step_post_hook(self._after)
        self._endings = [self._look_away, self._forward.remove, after.remove]
        if self._session.due:
            self._look()

    def _look(self) -> None:
        """Watch what comes until the next step is taken: it is recorded."""
        self._watching = [self._optimizer.register_step_pre_hook(self._before).remove]
        if self._hears:
            self._watching.append(listen(self._hear))

    def _look_away(self) -> None:
        """Watch nothing but how many steps are taken: the next is not recorded."""
        while self._watching:
            self._watching.pop()()

    def close(self, last_row: bool = True) -> None:
        """Stop recording and write what is left; `with` does it. Closing again does nothing.

        Args:
            last_row: Record where the parameters are now, if all that is recorded can be known of them.
        """
        while self._endings:
            self._endings.pop(0)()
        if self._session is not None:
            self._session.close(last_row)

    def log(self, values: Mapping[str, float] | None = None, /, **named: float) -> None:
        """Add values at a cadence of their own, such as validation metrics: `recorder.log(val_loss=0.3)`.

        They belong to the present parameters, that is to the row of as many steps as were taken.

        Raises:
            ArgumentError: Not started, or the name of a column that is recorded anyway.
        """
        self._started.log({**(values or {}), **named})

    def trajectory(self, columns: Sequence[str] | None = None) -> Trajectory:
        """Return what was recorded so far.

        Args:
            columns: Which columns, in this order: the rows in which all of them are. By default those that are recorded
                at every recorded step, but for the step size.

        Returns:
            The run, with its setting. If it diverged: up to the last row of finite numbers.

        Raises:
            DataError: An unknown column, fewer than two rows.
            ArgumentError: Not started.
        """
        return self._started.trajectory(columns)

    def trajectories(self, columns: Sequence[str] | None = None) -> Trajectories:
        """Return what was recorded so far as the only one of several runs. See `trajectory`."""
        return Trajectories((self.trajectory(columns),))

    @property
    def running(self) -> bool:
        """Whether the recording has started and not ended."""
        return bool(self._endings)

    @property
    def _started(self) -> Session:
        if self._session is None:
            raise ArgumentError("the recorder was not started: use it as `with record(...) as recorder:`")
        return self._session

    def _hear(self, loss: torch.Tensor) -> None:
        if self._evaluations > 1:  # A closure evaluates the loss again, at other parameters.
            return
        if self._losses and all(p.grad is None for p in self._weights):
            self._losses = []  # What came before is not in the gradients.
        # A number where reading it waits for nothing; elsewhere a copy, which the loop cannot change.
        self._losses.append(loss.item() if loss.is_cpu else loss.detach().clone().reshape(()))

    def _see_batch(self, model: torch.nn.Module, arguments: tuple, named: dict) -> None:
        if model.training and torch.is_grad_enabled():
            first = next((a for a in (*arguments, *named.values()) if isinstance(a, torch.Tensor) and a.ndim), None)
            self._batches.append(len(first) if first is not None else 0)

    def _before(self, optimizer: torch.optim.Optimizer, arguments: tuple, named: dict) -> tuple[tuple, dict] | None:
        session = self._session
        # Of the arguments the first is the optimizer itself, the next a closure.
        closure = arguments[1] if len(arguments) > 1 else named.get("closure")
        self._evaluates = closure is not None
        if closure is None:
            self._know(session.state)
            session.measure_all()
            return None
        session.measure("parameters")
        counted = self._counted(closure)
        return (
            ((optimizer, counted, *arguments[2:]), named)
            if arguments[1:]
            else (arguments, named | {"closure": counted})
        )

    def _counted(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Return a closure that says how often it was called, but only while it runs: it may fail."""
        calls = 0

        def evaluate() -> Any:
            nonlocal calls
            calls += 1
            self._evaluations = calls
            try:
                return closure()
            finally:
                self._evaluations = 0

        return evaluate

    def _after(self, optimizer: torch.optim.Optimizer, arguments: tuple, named: dict) -> None:
        session = self._session
        overflow = getattr(optimizer, "found_inf", None)
        if overflow is not None and bool(overflow):  # A fused optimizer under GradScaler, which took no step.
            session.drop()
            self._losses = []
            return
        if self._batches:
            self._note_batch(session)
        if not session.due:
            session.commit()
            if session.due:
                self._look()
            return
        if self._evaluates:
            self._know(session.state)
            session.measure("gradients")
        self._losses = []
        session.commit()
        if not session.due:
            self._look_away()

    def _know(self, state: State) -> None:
        """Tell the state what is known of the loss by now."""
        losses = self._losses
        state.heard = losses[0] if len(losses) == 1 else sum(losses[1:], start=losses[0]) if losses else None

    def _note_batch(self, session: Session) -> None:
        """Keep the batch size if the first step leaves no doubt: one input a loss."""
        if len(self._batches) == max(1, len(self._losses)) and all(self._batches):
            session.setting.setdefault("batch", sum(self._batches))
        self._batches = []
        self._forward.remove()


record = Recorder


class _OwnHook:
    """A hook that copies of the model have without effect: deep copies and pickles are not of this training."""

    def __init__(self, call: Callable[[Any, tuple, dict], None]) -> None:
        self._call = call

    def __call__(self, model: Any, arguments: tuple, named: dict) -> None:
        self._call(model, arguments, named)

    def __reduce__(self) -> tuple:
        return (_OwnHook, (_nothing,))


def _nothing(model: Any, arguments: tuple, named: dict) -> None:
    pass


def observables_of(given: Sequence[Given]) -> list[Any]:
    """Return what a list of observables stands for.

    Raises:
        ArgumentError: No list, an empty one, or something in it that is no observable.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ArgumentError(f"observables == {given!r:.60}, must be a list of at least one")
    return [observable(item) for item in given]


def _described(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the settings that an optimizer knows: what all its groups share, and what they do not."""
    groups = [{k: v for k, v in group.items() if k not in ASIDE and _says(v)} for group in optimizer.param_groups]
    shared = {k: v for k, v in groups[0].items() if all(k in g and g[k] == v for g in groups)}
    found = {"optimizer": type(optimizer).__name__, **shared, "seed": torch.initial_seed()}
    if own := [{k: v for k, v in group.items() if k not in shared} for group in groups if group != shared]:
        found["groups"] = own
    return found


def _says(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) or (
        isinstance(value, tuple) and all(isinstance(v, int | float) for v in value)
    )
