"""Recording of Keras' `fit` on its torch backend: the only module that imports keras."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import keras
import torch

from descentcast.errors import ArgumentError
from descentcast.trajectories.recording._adapter import Adapter
from descentcast.trajectories.recording._backward import listen
from descentcast.trajectories.recording._observables import Given, step_size
from descentcast.trajectories.recording._recorder import CHUNK, DEFAULT, Options, observables_of
from descentcast.trajectories.recording._session import Session, checked
from descentcast.trajectories.recording._state import State


class KerasRecorder(Adapter, keras.callbacks.Callback):
    """A Keras callback that records every optimizer step: `model.fit(..., callbacks=[KerasRecorder()])`.

    The loss is the step's own, not the mean since the beginning of the epoch that Keras hands to callbacks. Gradients
    are those before Keras clips them. Metrics of `validation_data` are added at the end of each epoch. The torch
    backend only: elsewhere a step is one compiled function, which cannot be looked into.

    Args:
        observables: See `record`; weights are named by their path, such as `"dense/kernel[0,0]"`.
        options: `every`, `path`, `run`, `arm`, `setting`, `chunk`, as `record` takes them.

    Raises:
        ArgumentError: When training starts: see `record`; or another backend, accumulated gradients or a scaled loss.
    """

    def __init__(self, observables: Sequence[Given] = DEFAULT, **options: Unpack[Options]) -> None:
        super().__init__()
        observables_of(observables)
        self._observables, self._options = observables, options
        self._endings: list[Callable[[], None]] = []
        self._losses: list[torch.Tensor] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Start the recording."""
        self._stop(last_row=False)  # Of a training that failed: Keras does not say so.
        if keras.backend.backend() != "torch":
            raise ArgumentError(f"the backend is {keras.backend.backend()!r}, must be 'torch' to be recorded")
        model: Any = self.model
        optimizer = model.optimizer
        if optimizer.gradient_accumulation_steps:
            raise ArgumentError("gradient_accumulation_steps is set, which is not recorded with Keras")
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or optimizer.loss_scale_factor:
            raise ArgumentError("the loss is scaled, which is not recorded with Keras")
        options = self._options
        every, chunk, run = checked(
            options.get("every", 1), options.get("chunk", CHUNK), options.get("path"), options.get("run")
        )
        parameters = {v.path: v.value for v in model.trainable_weights}
        state = State(int(optimizer.iterations), model, optimizer, parameters)
        meters = [step_size(lambda: [float(optimizer.learning_rate)])]
        meters += [item.bind(state) for item in observables_of(self._observables)]
        known = _described(optimizer) | dict(options.get("setting") or {})
        self.recording = Session(
            state,
            meters,
            every=every,
            path=options.get("path"),
            chunk=chunk,
            run=run,
            arm=options.get("arm"),
            setting=known,
        )
        self._endings = [listen(lambda loss: self._losses.append(loss.detach().clone().reshape(())))]

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Measure the parameters."""
        self._losses.clear()
        if isinstance(self.recording, Session) and self.recording.due:
            self.recording.measure("parameters")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Measure the loss and the gradients, and keep the row."""
        if isinstance(self.recording, Session):
            if self.recording.due:
                self.recording.state.heard = self._losses[-1] if self._losses else None
                self.recording.measure("gradients")
            self.recording.commit()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Add the validation metrics."""
        if isinstance(self.recording, Session):
            self.recording.log({name: float(v) for name, v in (logs or {}).items() if name.startswith("val_")})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End the recording."""
        self._stop(last_row=True)

    def _stop(self, last_row: bool) -> None:
        while self._endings:
            self._endings.pop(0)()
        self._end(last_row)


def _described(optimizer: Any) -> dict[str, Any]:
    config = {k: v for k, v in optimizer.get_config().items() if isinstance(v, bool | int | float) and v is not False}
    config.pop("learning_rate", None)
    return {"optimizer": type(optimizer).__name__, **config, "seed": torch.initial_seed()}
