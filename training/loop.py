"""The training loop shared by all models: batches of the prior, a budget in hours or steps, atomic saves, a CSV log.

`state.pt` in the output folder holds everything that a resumed run needs (trainable weights, optimizer, counters) in
one file, replaced atomically; what is exported beside it is for use.
"""

import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.contexts import Batch, Prior, fixed_batch
from training.digit_model import DigitModel
from training.drawn_ahead import Batches, tensors
from training.fields import DEVELOPMENT_FIELDS

COLUMNS = ("step", "tokens", "seconds", "learning_rate", "train_loss", "dev_divergence", "dev_other_forms")


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        learning_rate: Peak of the schedule.
        batch_tokens: Symbols a step, about.
        micro_tokens: Symbols a pass, about; gradients of a step's passes are added up.
        hours: Budget over all resumed pieces: of processor time (what the process burns, whatever else the machine
            does), or of time on the clock where an accelerator computes; or
        steps: budget of steps.
        warm_up: Share of the budget until the peak.
        weight_decay: Of matrices; norms have none.
        seed: Of the prior and the weights.
        log_every: Steps between rows of the log.
        dev_every: Steps between evaluations.
        save_minutes: Minutes between saves.
        beta2: Second-moment decay of AdamW.
        autocast: Compute in bfloat16; what is trained stays in float32.
        workers: Processes that draw contexts ahead; 0: none.
    """

    learning_rate: float
    batch_tokens: int
    micro_tokens: int
    hours: float = math.inf
    steps: int | None = None
    warm_up: float = 0.03
    weight_decay: float = 0.05
    seed: int = 0
    log_every: int = 10
    dev_every: int = 100
    save_minutes: float = 4.0
    beta2: float = 0.98
    autocast: bool = False
    workers: int = 0

    def progress(self, step: int, seconds: float) -> float:
        """Return the share of the budget that is spent, in [0, 1]."""
        spent = step / self.steps if self.steps is not None else seconds / (3600 * self.hours)
        return min(spent, 1.0)

    def rate(self, progress: float) -> float:
        """Return the learning rate: linear warm-up, then a cosine down to 1 % of the peak."""
        if progress < self.warm_up:
            return self.learning_rate * (0.02 + 0.98 * progress / self.warm_up)
        turn = (progress - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * turn)))


def fit(
    model: DigitModel,
    prior: Prior,
    settings: Settings,
    out: Path,
    export: Callable[[Path], Any],
    stop_after: int | None = None,
) -> int:
    """Train until the budget is spent, resuming from `out` if a state is there; return the number of steps done.

    Args:
        model: The model, its trainable parameters those that require gradients.
        prior: Where contexts come from.
        settings: How to train.
        out: Folder of state, log and exported model.
        export: Writes the usable model into a folder.
        stop_after: Stop, and save, after this step (the budget stays what it is).
    """
    out.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device
    torch.backends.cuda.enable_cudnn_sdp(False)  # cuDNN plans its attention for every new shape: a tenth of a second
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = adamw(weights, settings)
    step, tokens, seconds = resume(out / "state.pt", weights, optimizer)
    development = dev_batches(settings)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    saved_at, started, before = seconds, clock(), seconds
    recent: list[Tensor] = []
    source = Batches(prior, settings.seed, settings.batch_tokens)
    coming = iter(source.from_number(step, settings.workers, pinned=device.type != "cpu"))
    while settings.progress(step, seconds) < 1 and (stop_after is None or step < stop_after):
        rate = settings.rate(settings.progress(step, seconds))
        for group in optimizer.param_groups:
            group["lr"] = rate
        symbols, laws = next(coming)
        recent.append(_gradients(model, symbols, laws, settings))
        nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, tokens, seconds = step + 1, tokens + symbols.numel(), before + clock() - started
        over = settings.progress(step, seconds) >= 1
        if step % settings.log_every == 0 or over:
            evaluated = step % settings.dev_every == 0 or over
            dev = [evaluate(model, d, settings) for d in development] if evaluated else ["", ""]
            loss = float(torch.stack(recent).mean())
            _log(out / "log.csv", [step, tokens, round(seconds, 1), f"{rate:.3g}", loss, *dev])
            recent = []
        if seconds - saved_at > 60 * settings.save_minutes:
            save(out, step, tokens, seconds, weights, optimizer, export)
            saved_at = seconds
    save(out, step, tokens, seconds, weights, optimizer, export)
    return step


def adamw(weights: dict[str, nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """Return AdamW with weight decay on matrices only."""
    groups = [
        {"params": [p for p in weights.values() if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in weights.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, settings.beta2), fused=True)


def dev_batches(settings: Settings) -> list[list[Batch]]:
    """Return fixed development contexts of 10 to 600 values: held-out draws of the training forms, and other forms."""
    priors = (Prior(stream=1), Prior(fields=DEVELOPMENT_FIELDS, loss_share=0.0, stream=1))
    shapes = ((30, 24), (90, 24), (300, 12), (600, 4), (1800, 2))
    return [[fixed_batch(p, 0, i, *shape) for i, shape in enumerate(shapes)] for p in priors]


@torch.no_grad()
def evaluate(model: DigitModel, batches: list[Batch], settings: Settings) -> float:
    """Return the mean divergence of a digit over `batches`, in nats.

    That is cross-entropy less the entropy of what it is scored against: 0 for the model that knows every law, where the
    laws are known.
    """
    total, count = 0.0, 0
    device = next(model.parameters()).device
    for drawn in batches:
        for symbols, laws in _passes(*tensors(drawn), settings.micro_tokens, device):
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.autocast):
                losses = model(symbols, laws)
            total, count = (
                total + float((losses - torch.special.entr(laws[laws.any(-1)]).sum(-1)).sum()),
                count + len(losses),
            )
    return total / count


def save(
    out: Path,
    step: int,
    tokens: int,
    seconds: float,
    weights: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    export: Callable[[Path], Any],
) -> None:
    """Write the state and the usable model; a save that is cut short leaves the one before in place."""
    state = {
        "step": step,
        "tokens": tokens,
        "seconds": seconds,
        "weights": {name: p.detach() for name, p in weights.items()},
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, out / "state.tmp")
    os.replace(out / "state.tmp", out / "state.pt")
    fresh = out / "export.tmp"
    export(fresh)
    for file in fresh.iterdir():
        os.replace(file, out / file.name)
    fresh.rmdir()


def resume(path: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> tuple[int, int, float]:
    """Load the state at `path`, if there is one; return the steps, tokens and seconds done."""
    if not path.exists():
        return 0, 0, 0.0
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for name, p in weights.items():
            p.copy_(state["weights"][name])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["tokens"], state["seconds"]


def _gradients(model: DigitModel, symbols: Tensor, laws: Tensor, settings: Settings) -> Tensor:
    """Add up the gradients of the mean loss over the scored symbols of a batch; return the loss."""
    device = next(model.parameters()).device
    count, loss = int(laws.any(-1).sum()), torch.zeros((), device=device)
    for part in _passes(symbols, laws, settings.micro_tokens, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.autocast):
            mean = model(*part).sum() / count
        mean.backward()
        loss += mean.detach()
    return loss


def _passes(symbols: Tensor, laws: Tensor, micro_tokens: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    rows = max(1, micro_tokens // symbols.shape[1])
    parts = (given.to(device, non_blocking=True).split(rows) for given in (symbols, laws))
    return list(zip(*parts, strict=True))


def _log(path: Path, row: list[Any]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(COLUMNS)
        writer.writerow([f"{v:.4f}" if isinstance(v, float) and v < 100 else v for v in row])
    print(*row, flush=True)
