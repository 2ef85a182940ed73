"""Which pruner saves most: forecasts, medians, Hyperband, or none, on recorded trainings of small networks.

    python benchmarks/pruning.py [--studies 12] [--trials 30] [--part reporting|development] [--record] [--json]

`--record` trains networks, 90 settings at 30 epochs each for either part (a few minutes of one core), and writes
`benchmarks/data/pruning.json`; without it the recorded curves are read. The development part (a synthetic problem of
four classes) is what the defaults of `ForecastPruner` were chosen on, the reporting part scikit-learn's digits. A study
of Optuna draws settings from them at random; its trials report the held-out loss after each epoch and are pruned by one
of the pruners. All pruners see the same trials in the same order. An epoch is taken to cost c seconds, and the
processor time that the pruner itself takes is measured and added: the table gives the totals at rising c.

`lost winners`: studies in which the best of the trials drawn, by its loss at the end, was pruned. `regret`: how much
higher the study's best loss is than that trial's, in nats. Break-even: the cost of an epoch above which forecasts take
less time in all than the other. Standard errors are over studies, which share curves.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import optuna
import torch
from sklearn.datasets import load_digits, make_classification

import descentcast as dc
from descentcast.reports import show_table

DATA = Path(__file__).parent / "data" / "pruning.json"
SETTINGS, EPOCHS, HELD_OUT = 90, 30, 500
PARTS = ("development", "reporting")
COSTS = (0.001, 0.01, 0.1, 1.0, 10.0)
FORECAST = "ForecastPruner"


def problem(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return features in about [-1, 1] and labels."""
    if part == "reporting":
        images, labels = load_digits(return_X_y=True)
        return np.asarray(images) / 16, np.asarray(labels)
    x, y = make_classification(1797, 30, n_informative=10, n_classes=4, n_clusters_per_class=2, random_state=0)
    return x / 3, y


def record(part: str) -> list[list[float]]:
    """Train every setting and return the held-out losses after each epoch; those of diverged runs are left out."""
    features, labels = (torch.as_tensor(a) for a in problem(part))
    classes = int(labels.max()) + 1
    curves = []
    for setting in range(SETTINGS):
        rng = np.random.default_rng([2027, PARTS.index(part), setting])
        torch.manual_seed(10_000 + setting)
        order = torch.as_tensor(rng.permutation(len(features)))
        x, y = features[order].float(), labels[order].long()
        rate, width = float(np.exp(rng.uniform(np.log(0.003), np.log(1.0)))), int(rng.choice([4, 8, 16, 32, 64]))
        batch, decay = int(rng.choice([32, 64])), float(np.exp(rng.uniform(np.log(1e-6), np.log(1e-2))))
        drop = float(rng.choice([0.0, 0.2, 0.5]))
        network = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], width), torch.nn.ReLU(), torch.nn.Dropout(drop), torch.nn.Linear(width, classes)
        )
        steps = torch.optim.SGD(network.parameters(), lr=rate, weight_decay=decay)
        losses = []
        for _ in range(EPOCHS):
            network.train()
            for piece in torch.as_tensor(HELD_OUT + rng.permutation(len(x) - HELD_OUT)).split(batch):
                steps.zero_grad()
                torch.nn.functional.cross_entropy(network(x[piece]), y[piece]).backward()
                steps.step()
            network.eval()
            with torch.no_grad():
                losses.append(float(torch.nn.functional.cross_entropy(network(x[:HELD_OUT]), y[:HELD_OUT])))
        if np.isfinite(losses).all():
            curves.append([round(v, 5) for v in losses])
    return curves


def study(curves: list[list[float]], chosen: np.ndarray, pruner: optuna.pruners.BasePruner, seed: int) -> dict:
    """Run one study over chosen curves and return what it cost and found."""
    asking, epochs, calls = 0.0, 0, 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal asking, epochs, calls
        curve = curves[chosen[trial.number]]
        for epoch, loss in enumerate(curve):
            epochs += 1
            trial.report(loss, epoch)
            begin = time.process_time()
            pruned = trial.should_prune()
            asking += time.process_time() - begin
            calls += 1
            if pruned:
                raise optuna.TrialPruned
        return curve[-1]

    made = optuna.create_study(study_name=f"study {seed}", pruner=pruner)
    made.optimize(objective, n_trials=len(chosen))
    ends = np.array([curves[i][-1] for i in chosen])
    winner = made.trials[int(ends.argmin())]
    return {
        "epochs": epochs,
        "asking": asking,
        "calls": calls,
        "lost": winner.state == optuna.trial.TrialState.PRUNED,
        "regret": float(np.log(made.best_value / ends.min())),
    }


def main() -> None:
    """Record curves, or run the studies and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=12)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--part", choices=PARTS, default="reporting")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.record:
        DATA.parent.mkdir(exist_ok=True)
        torch.set_num_threads(1)
        recorded = {part: record(part) for part in PARTS}
        DATA.write_text(json.dumps(recorded, separators=(",", ":")) + "\n", encoding="utf-8")
        return
    curves = json.loads(DATA.read_text(encoding="utf-8"))[arguments.part]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: dict[str, list[dict]] = {}
    for seed in range(arguments.studies):
        chosen = np.random.default_rng([7, seed]).choice(len(curves), arguments.trials, replace=False)
        pruners = {
            "none": optuna.pruners.NopPruner(),
            "MedianPruner": optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=7),
            "HyperbandPruner": optuna.pruners.HyperbandPruner(min_resource=4, max_resource=EPOCHS, reduction_factor=3),
            FORECAST: dc.ForecastPruner(),
        }
        for name, pruner in pruners.items():
            found.setdefault(name, []).append(study(curves, chosen, pruner, seed))
    means = {name: {k: float(np.mean([row[k] for row in rows])) for k in rows[0]} for name, rows in found.items()}
    ours, table = means[FORECAST], []

    def error(name: str) -> float:
        return float(np.std([row["epochs"] for row in found[name]], ddof=1) / np.sqrt(len(found[name])))

    for name, row in means.items():
        saved = row["epochs"] - ours["epochs"]
        even = (ours["asking"] - row["asking"]) / saved if saved > 0 else float("inf")
        table.append(
            {
                "pruner": name,
                "epochs": f"{row['epochs']:.0f} ± {error(name):.0f}",
                "asking, ms a report": 1e3 * row["asking"] / row["calls"],
                **{f"total s at {c:g} s": row["epochs"] * c + row["asking"] for c in COSTS},
                "lost winners": f"{sum(r['lost'] for r in found[name])} of {len(found[name])}",
                "regret": row["regret"],
                "break-even, s an epoch": max(even, 0.0) if name != FORECAST else float("nan"),
            }
        )
    if arguments.json:
        print(json.dumps(table))
    else:
        show_table(table, f"{arguments.studies} studies of {arguments.trials} trials of {EPOCHS} epochs, means")


if __name__ == "__main__":
    main()
