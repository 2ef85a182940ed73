"""Make the files of validation losses of small networks, many seeds of each arm, in one go.

    python benchmarks/data/trials_digits.py [trials_digits.npz] [trials_digits_fresh.npz]

Settings are those of [breast_cancer], [digits] and [digits_fresh] in benchmarks/trials.toml. One hidden layer of tanh
units, softmax cross-entropy, minibatches shuffled anew each epoch, SGD with momentum and L2 weight decay; weights are
drawn anew for each run, the split into 600 (breast cancer: 300) training examples and the rest for validation is the
same for all runs of a part. The loss on the validation examples is recorded at the start and four times an epoch. All
runs of an arm are trained side by side by batched products: a minute or two of one core for a file.
"""

import sys
import tomllib
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits

HERE = Path(__file__).parent
FILES = {"trials_digits.npz": ("breast_cancer", "digits"), "trials_digits_fresh.npz": ("digits_fresh",)}
PER_EPOCH = 4


def data(name: str, split: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training and validation features and labels, standardised by the training part."""
    x, y = (load_breast_cancer if name == "breast_cancer" else load_digits)(return_X_y=True)
    order = np.random.default_rng(split).permutation(len(y))
    x, y = x[order], y[order]
    train, held = (300, len(y)) if name == "breast_cancer" else (600, 1200)
    x = (x - x[:train].mean(axis=0)) / np.maximum(x[:train].std(axis=0), 1e-3 * x[:train].std())
    features, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    return features[:train], labels[:train], features[train:held], labels[train:held]


def losses(name: str, part: dict, setting: dict[str, float], seed: int) -> np.ndarray:
    """Train the networks of an arm side by side, and return validation losses, shape (runs, 1 + 4 epochs)."""
    runs, epochs = part["runs"], part["epochs"]
    x, y, held, answers = data(name, part.get("split", 0))
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
    """Train every arm and write the files that are named, or all."""
    torch.set_num_threads(1)
    design = tomllib.loads((HERE.parent / "trials.toml").read_text(encoding="utf-8"))
    for file in sys.argv[1:] or FILES:
        found = {}
        for name in FILES[file]:
            part = design[name]
            for arm, changed in {"base": {}, **part["arms"]}.items():
                label = f"{name}/{arm}"
                found[label] = losses(name, part, {**part["base"], **changed}, crc32(label.encode()))
                print(f"{label}: {found[label].shape}", flush=True)
        np.savez_compressed(HERE / file, **found)


if __name__ == "__main__":
    main()
