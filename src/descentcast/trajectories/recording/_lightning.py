"""Recording of a Lightning `Trainer`: the only module that imports lightning."""

from collections.abc import Sequence
from typing import Unpack

from lightning.pytorch import Callback, LightningModule, Trainer

from descentcast.errors import ArgumentError
from descentcast.trajectories.recording._adapter import Adapter
from descentcast.trajectories.recording._observables import Given
from descentcast.trajectories.recording._recorder import DEFAULT, Options, Recorder, observables_of


class LightningRecorder(Adapter, Callback):
    """A Lightning callback that records every optimizer step: `Trainer(callbacks=[LightningRecorder()])`.

    The loss is what each step took the gradient of, not the running value that Lightning logs; with accumulated
    gradients it is the mean over the micro-batches. What validation logs under names that begin with `val` is added at
    its own cadence. On several processes the first records, with the loss of its share of the batch.

    Args:
        observables: See `record`.
        options: `every`, `path`, `run`, `arm`, `setting`, `chunk`, as `record` takes them.

    Raises:
        ArgumentError: When training starts: see `record`; or the module has several optimizers.
    """

    def __init__(self, observables: Sequence[Given] = DEFAULT, **options: Unpack[Options]) -> None:
        observables_of(observables)
        self._observables, self._options = observables, options

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the recording."""
        if not trainer.is_global_zero:
            return
        if len(trainer.optimizers) != 1:
            raise ArgumentError(f"the module has {len(trainer.optimizers)} optimizers, must be one to be recorded")
        options = dict(self._options)
        known = {}
        if isinstance(size := getattr(trainer.train_dataloader, "batch_size", None), int):
            known["batch"] = size * trainer.accumulate_grad_batches * trainer.world_size
        options["setting"] = known | dict(self._options.get("setting") or {})
        self.recording = Recorder(
            trainer.optimizers[0],
            pl_module,
            self._observables,
            first_step=trainer.global_step,
            **options,  # pyright: ignore[reportArgumentType]
        )
        self.recording.start()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the validation metrics."""
        if isinstance(self.recording, Recorder) and self.recording.running:
            metrics = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val")}
            self.recording.log(metrics)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the recording."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the recording of a training that failed."""
        self._end(last_row=False)
