"""Record a training in one line and read it back.

A small network learns scikit-learn's digits by minibatch SGD; its loss, the norm of its gradient and two random
projections of its weights go to a file as they come. The loop is the usual one: nothing in it knows of the recorder.

Run it with `python examples/record_digits.py`; it writes `out/digits.jsonl` and `out/digits.setting.json`.
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits

import descentcast as dc

digits = load_digits()
inputs = torch.as_tensor(digits.data / 16, dtype=torch.float32)
targets = torch.as_tensor(digits.target)

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
path = Path("out/digits.jsonl")
for file in (path, path.with_suffix(".setting.json")):
    file.unlink(missing_ok=True)  # Recordings are not overwritten.

with dc.record(optimizer, model, ["loss", "gradient_norm", "projection:2"], path=path) as recorder:
    for _ in range(400):
        chosen = torch.randint(len(inputs), (64,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()

run = dc.read(path, ["loss", "projection:0", "projection:1"])[0]
print({name: run.setting[name] for name in ("optimizer", "step", "batch", "schedule")})
print(f"{len(run)} steps, loss {run.values[0, 0]:.3f} -> {run.values[-20:, 0].mean():.3f}")
print(f"projected weights moved from {run.values[0, 1:].round(2)} to {run.values[-1, 1:].round(2)}")
