"""Make benchmarks/data/trials_digits.npz: validation losses of small networks, many seeds of each arm, in one go.

    python benchmarks/data/trials_digits.py

Settings are those of [breast_cancer] and [digits] in benchmarks/trials.toml. One hidden layer of tanh units, softmax
cross-entropy, minibatches shuffled anew each epoch, SGD with momentum and L2 weight decay; weights are drawn anew for
each run, the split into 600 (breast cancer: 300) training examples and the rest for validation is the same for all. The
loss on the validation examples is recorded at the start and four times an epoch. All runs of an arm are trained side by
side by batched products: a minute of one core for everything.
"""

import tomllib
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits

HERE = Path(__file__).parent
PER_EPOCH = 4


def data(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training and validation features and labels, standardised by the training part."""
    x, y = {"digits": load_digits, "breast_cancer": load_breast_cancer}[name](return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    train, held = (600, 1200) if name == "digits" else (300, len(y))
    x = (x - x[:train].mean(axis=0)) / np.maximum(x[:train].std(axis=0), 1e-3 * x[:train].std())
    features, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    return features[:train], labels[:train], features[train:held], labels[train:held]


def losses(name: str, setting: dict[str, float], runs: int, epochs: int, seed: int) -> np.ndarray:
    """Train `runs` networks side by side, and return validation losses, shape (runs, 1 + 4 epochs)."""
    x, y, held, answers = data(name)
    draw = torch.Generator().manual_seed(seed)
    inputs, hidden, classes = x.shape[1], int(setting["hidden"]), int(y.max()) + 1
    shapes = [(inputs, hidden), (1, hidden), (hidden, classes), (1, classes)]
    scales = [inputs**-0.5, 0.0, hidden**-0.5, 0.0]
    weights = [s * torch.randn(runs, *shape, generator=draw) for s, shape in zip(scales, shapes, strict=True)]
    for w in weights:
        w.requires_grad_()
    moving = [torch.zeros_like(w) for w in weights]

    def forward(features: torch.Tensor) -> torch.Tensor:
        return torch.tanh(features @ weights[0] + weights[1]) @ weights[2] + weights[3]

    def validation() -> np.ndarray:
        with torch.no_grad():
            scores = forward(held.expand(runs, -1, -1)).log_softmax(-1)
            return -scores[:, torch.arange(len(answers)), answers].mean(dim=1).numpy()

    recorded, batch = [validation()], int(setting["batch"])
    steps = len(y) // batch
    marks = {round(steps * (k + 1) / PER_EPOCH) for k in range(PER_EPOCH)}
    for _ in range(epochs):
        order = torch.rand(runs, len(y), generator=draw).argsort(dim=1)
        for t in range(steps):
            chosen = order[:, t * batch : (t + 1) * batch]
            scores = forward(x[chosen]).log_softmax(-1)
            loss = -scores.gather(2, y[chosen][..., None]).mean(dim=(1, 2)).sum()
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, g, v in zip(weights, gradients, moving, strict=True):
                    v.mul_(setting["momentum"]).add_(g + setting["weight_decay"] * w)
                    w.sub_(setting["learning_rate"] * v)
            if t + 1 in marks:
                recorded.append(validation())
    return np.stack(recorded, axis=1).astype(np.float32)


def main() -> None:
    """Train every arm and write the file."""
    torch.set_num_threads(1)
    design = tomllib.loads((HERE.parent / "trials.toml").read_text(encoding="utf-8"))
    found = {}
    for name in ("breast_cancer", "digits"):
        part = design[name]
        for arm, changed in {"base": {}, **part["arms"]}.items():
            seed = crc32(f"{name}/{arm}".encode())
            found[f"{name}/{arm}"] = losses(name, {**part["base"], **changed}, part["runs"], part["epochs"], seed)
            last = found[f"{name}/{arm}"][:, -1]
            print(
                f"{name}/{arm}: {found[f'{name}/{arm}'].shape} last {last.mean():.4f} sd {last.std():.4f}", flush=True
            )
    np.savez_compressed(HERE / "trials_digits.npz", **found)


if __name__ == "__main__":
    main()
