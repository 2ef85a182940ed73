"""Real trainings by the real libraries, against losses that their own code computed at every step."""

import os

import numpy as np
import pytest
import torch
from torch import nn

import descentcast as dc
from descentcast.errors import ArgumentError

pytestmark = pytest.mark.slow  # Importing the three libraries takes longer than the trainings.

STEPS, MICRO = 6, 2


def data(count: int) -> torch.utils.data.TensorDataset:
    draw = torch.Generator().manual_seed(0)
    return torch.utils.data.TensorDataset(torch.randn(count, 3, generator=draw), torch.randn(count, 1, generator=draw))


def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.network = nn.Linear(3, 1)
            self.losses, self.checked, self.weights = [], [], []

        def training_step(self, batch, index):
            loss = nn.functional.mse_loss(self.network(batch[0]), batch[1])
            self.losses.append(loss.item())
            self.weights.append(self.network.weight[0, 1].item())
            return loss

        def validation_step(self, batch, index):
            loss = nn.functional.mse_loss(self.network(batch[0]), batch[1])
            self.log("val_loss", loss)
            if not self.trainer.sanity_checking:
                self.checked.append(loss.item())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module, path = Module(), tmp_path / "lightning.jsonl"
    recorder = dc.recording.LightningRecorder(["loss", "network.weight[0,1]", "gradient_norm"], path=path, arm="A")
    trainer = lightning.Trainer(
        max_steps=STEPS,
        accumulate_grad_batches=MICRO,
        callbacks=[recorder],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=4,
        check_val_every_n_epoch=None,
        default_root_dir=tmp_path,
    )
    loaders = [torch.utils.data.DataLoader(data(5 * STEPS * MICRO), batch_size=5) for _ in range(2)]
    trainer.fit(module, loaders[0], loaders[1])
    run = recorder.trajectory()
    assert run.steps.tolist() == list(range(STEPS))
    np.testing.assert_allclose(run.values[:, 0], np.reshape(module.losses, (STEPS, MICRO)).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(run.values[:, 1], module.weights[::MICRO], rtol=1e-6)
    assert (run.values[:, 2] > 0).all()
    told = {"optimizer": "SGD", "step": 0.1, "batch": 5 * MICRO}
    assert told.items() <= dict(run.setting).items()
    checked = recorder.trajectory(["val_loss"])
    assert checked.steps.tolist() == [2, 4, 6]
    np.testing.assert_allclose(checked.values[:, 0], np.reshape(module.checked, (3, -1)).mean(axis=1), rtol=1e-5)
    back = dc.read(path, list(run.names))[0]
    assert back.values.tobytes() == run.values.tobytes()
    assert back.arm == "A"


def test_lightning_resumed_by_the_same_script_is_one_run(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    losses = []

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(3, 1)

        def training_step(self, batch, index):
            loss = nn.functional.mse_loss(self.network(batch[0]), batch[1])
            losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def script(steps: int, checkpoint=None) -> None:
        trainer = lightning.Trainer(
            max_steps=steps,
            callbacks=[dc.recording.LightningRecorder(["loss"], path=tmp_path / "runs" / "a.jsonl")],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(Module(), torch.utils.data.DataLoader(data(20), batch_size=5), ckpt_path=checkpoint)
        trainer.save_checkpoint(tmp_path / "last.ckpt")

    script(4)
    script(10, tmp_path / "last.ckpt")
    (run,) = dc.read(tmp_path / "runs")
    assert (run.run, run.steps.tolist(), run.values[:, 0].tolist()) == ("a", list(range(10)), pytest.approx(losses))


def test_hugging_face(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    rows = torch.randint(40, (3 * STEPS * MICRO, 8))
    losses = []

    class Trainer(transformers.Trainer):
        def compute_loss(self, *arguments, **named):
            found = super().compute_loss(*arguments, **named)
            if self.model.training:
                losses.append(found.item())
            return found

    recorder = dc.recording.HuggingFaceRecorder(["loss", "parameter_norm"], path=tmp_path / "hf.jsonl")
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=STEPS,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=MICRO,
        learning_rate=0.01,
        logging_steps=3,
        eval_strategy="steps",
        eval_steps=3,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        seed=7,
    )
    examples = [{"input_ids": row, "labels": row} for row in rows]
    trainer = Trainer(
        model=model, args=arguments, train_dataset=examples, eval_dataset=examples[:4], callbacks=[recorder]
    )
    trainer.train()
    run = recorder.trajectory()
    assert run.steps.tolist() == list(range(STEPS))
    own = np.reshape(losses, (STEPS, MICRO)).sum(axis=1)  # Each is divided by the tokens of the whole step already.
    np.testing.assert_allclose(run.values[:, 0], own, rtol=1e-5)
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    np.testing.assert_allclose(run.values[:, 0].reshape(-1, 3).mean(axis=1), logged, atol=1e-4)
    assert not np.allclose(run.values[2::3, 0], logged, atol=1e-3), "what the trainer logs is a mean over steps"
    told = {"optimizer": "AdamW", "step": 0.01, "batch": 3 * MICRO, "seed": 7, "schedule": "column step_size"}
    assert told.items() <= dict(run.setting).items()
    expected = [0.01 * (1 - t / STEPS) for t in range(STEPS)]
    np.testing.assert_allclose(recorder.trajectory(["step_size:0"]).values[:, 0], expected, rtol=1e-9)
    evaluated = recorder.trajectory(["eval_loss"])
    assert evaluated.steps.tolist() == [3, 6]
    assert evaluated.values[:, 0].tolist() == [e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e]


def test_keras(tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    x, y = (t.numpy() for t in data(5 * STEPS).tensors)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    weights, shown = [], []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            weights.append([w.copy() for w in self.model.get_weights()])

        def on_train_batch_end(self, batch, logs=None):
            shown.append(logs["loss"])

    recorder = dc.recording.KerasRecorder(
        ["loss", "gradient_norm", "sequential/out/kernel[1,0]"], path=(path := tmp_path / "keras.jsonl")
    )
    fitted = model.fit(
        x, y, batch_size=5, epochs=2, shuffle=False, verbose=0, validation_data=(x, y), callbacks=[Watch(), recorder]
    )
    run = recorder.trajectory()
    assert run.steps.tolist() == list(range(2 * STEPS))
    expected = []
    for i, (kernel, bias) in enumerate(weights):
        part = slice(5 * (i % STEPS), 5 * (i % STEPS) + 5)
        error = x[part] @ kernel + bias - y[part]
        gradient = np.append(2 / 5 * x[part].T @ error, 2 / 5 * error.sum())
        expected.append([np.square(error).mean(), np.linalg.norm(gradient), kernel[1, 0]])
    np.testing.assert_allclose(run.values, expected, rtol=1e-5)
    assert np.abs(run.values[1:STEPS, 0] - shown[1:STEPS]).min() > 1e-3, "what Keras hands to callbacks is a mean"
    np.testing.assert_allclose(run.values[:STEPS, 0].cumsum() / np.arange(1, STEPS + 1), shown[:STEPS], rtol=1e-5)
    assert recorder.trajectory(["val_loss"]).steps.tolist() == [STEPS, 2 * STEPS]
    assert recorder.trajectory(["val_loss"]).values[:, 0].tolist() == fitted.history["val_loss"]
    assert (run.setting["optimizer"], round(run.setting["step"], 6)) == ("SGD", 0.1)
    assert dc.read(path, list(run.names))[0].values.tobytes() == run.values.tobytes()
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), loss="mse")
    with pytest.raises(ArgumentError, match="gradient_accumulation_steps is set"):
        model.fit(x, y, verbose=0, callbacks=[dc.recording.KerasRecorder()])


def test_adapters_check_their_observables_at_once_and_have_nothing_before_training():
    for name in ("LightningRecorder", "HuggingFaceRecorder", "KerasRecorder"):
        adapter = getattr(dc.recording, name)
        with pytest.raises(ArgumentError, match="'lss' is unknown"):
            adapter(["lss"])
        with pytest.raises(ArgumentError, match="no training has started"):
            adapter().trajectory()
