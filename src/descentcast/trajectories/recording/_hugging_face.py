"""Recording of a Hugging Face `Trainer`."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from descentcast.trajectories.recording._adapter import Adapter
from descentcast.trajectories.recording._observables import Given
from descentcast.trajectories.recording._recorder import DEFAULT, Options, Recorder, observables_of

CLOCK = ("_runtime", "_per_second", "_time", "epoch")


class HuggingFaceRecorder(Adapter, TrainerCallback):
    """A `TrainerCallback` that records every optimizer step: `Trainer(..., callbacks=[HuggingFaceRecorder()])`.

    The loss is what each step took the gradient of, not the mean over `logging_steps` that the trainer logs, and a
    value that is not finite is kept as it is (`logging_nan_inf_filter` hides it from the log). What `evaluate` returns
    is added at its own cadence. On several processes the first records, with the loss of its share of the batch.

    Args:
        observables: See `record`.
        options: `every`, `path`, `run`, `arm`, `setting`, `chunk`, as `record` takes them.

    Raises:
        ArgumentError: When training starts: see `record`.
    """

    def __init__(self, observables: Sequence[Given] = DEFAULT, **options: Unpack[Options]) -> None:
        observables_of(observables)
        self._observables, self._options = observables, options

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Start the recording."""
        self._end(last_row=False)  # Of a training that failed: the trainer does not say so.
        if not state.is_world_process_zero:
            return
        options = dict(self._options)
        batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        options["setting"] = {"batch": batch, "seed": args.seed} | dict(self._options.get("setting") or {})
        optimizer = given["optimizer"]
        self.recording = Recorder(
            getattr(optimizer, "optimizer", optimizer),  # accelerate wraps the one whose hooks are called.
            given["model"],
            self._observables,
            first_step=state.global_step,
            **options,  # pyright: ignore[reportArgumentType]
        )
        self.recording.start()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        """Add the metrics of an evaluation during training."""
        if isinstance(self.recording, Recorder) and self.recording.running:
            numbers = {k: v for k, v in (metrics or {}).items() if isinstance(v, int | float)}
            self.recording.log({k: v for k, v in numbers.items() if not k.endswith(CLOCK)})

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """End the recording."""
        self._end()
