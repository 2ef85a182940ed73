"""What stacking is worth, and how wide its intervals must be: on development problems with a known simulator.

    python benchmarks/stack.py [--model descent-small | --model none] [--problems 12] [--views 4] [--json]

Problems, contexts and measures are those of `benchmarks/development.py` and of `descentcast bench kernels`; no
reported figure uses them. Columns are averages over problems and contexts: `rows`, the Bhattacharyya distance of rows,
weighted by what runs from unseen starts see of them; `landing`, total variation; `ratio`, the geometric mean over
problems and contexts of (landing + 0.01) / (that of the best of the stack's members + 0.01); `worse`, on how many
problems the kernel is worse than the best of these members by more than 10 % + 0.002, in rows and in landings, contexts
averaged.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import descentcast as dc
from descentcast.benchmark import load_suite
from descentcast.benchmark._measures import judged_landing, row_distances
from descentcast.benchmark._truth import truth_of
from descentcast.kernels import KernelEstimator
from descentcast.kernels._mixing import mix, tempered

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.development import development_problems


def main() -> None:
    """Fit members and stack on every problem and context, and compare with the truth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="descent-small", help="name of a language model, or none")
    parser.add_argument("--problems", type=int, default=12)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    linear, density = dc.LocalLinearKernel(), dc.KernelDensityKernel()
    readers: list[KernelEstimator] = []
    if arguments.model != "none":
        readers = [dc.InContextKernel(dc.load_model(arguments.model), views=arguments.views)]
    mended = [dc.RecalibratedKernel(reader) for reader in readers]
    deployed = [*mended, dc.RecalibratedKernel(linear), dc.RecalibratedKernel(density)]
    suite = load_suite()
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for problem in development_problems(arguments.problems):
        truth = truth_of(problem, suite.judging)
        for context, (runs, values) in enumerate(suite.contexts.values()):
            recorded, edges = problem.record(runs, values, 0), problem.edges[0]
            plain = dc.RecalibratedKernel(dc.StackedKernel([*readers, linear, density])).fit(recorded, edges)
            stack = dc.StackedKernel(deployed).fit(recorded, edges)
            half = dc.StackedKernel([*mended, linear, density]).fit(recorded, edges)
            kernels = [member.kernel_ for member in stack.members_]
            everywhere = np.ones(len(edges) - 1)
            even = np.full(len(deployed), 1 / len(deployed))
            fitted = [*plain.estimator_.members_, *stack.members_]
            candidates = {
                **{member.label: member.kernel_ for member in fitted},
                "even mixture of the stack's members": mix(kernels, tempered(even, everywhere)),
                "stack, weights alike everywhere": mix(kernels, tempered(stack.weights_, everywhere)),
                "stack, nothing recalibrated": plain.estimator_.kernel_,
                "the same, recalibrated at the end": plain.kernel_,
                "stack, only its model recalibrated": half.kernel_,
                "stack, drifts as members say": mix(kernels, stack.row_weights_),
                "stack": stack.kernel_,
            }
            for name, kernel in candidates.items():
                rows = row_distances((kernel,), truth, recorded)["bhattacharyya"]
                landing = judged_landing(kernel, truth, suite.judging["horizon"], suite.judging["certain"])["landing"]
                own = found.setdefault(name, [])
                own.extend([[]] if context == 0 else [])
                own[-1].append((rows, landing))
        print(problem.name, file=sys.stderr, flush=True)
    arrays = {name: np.array(values) for name, values in found.items()}  # (problems, contexts, 2)
    best = np.min([arrays[member.label] for member in deployed], axis=0)
    limit = 1.1 * np.min([arrays[member.label].mean(axis=1) for member in deployed], axis=0) + 0.002
    table = [
        {
            "kernel": name,
            "rows": float(values[..., 0].mean()),
            "landing": float(values[..., 1].mean()),
            "ratio": float(np.exp(np.log((values[..., 1] + 0.01) / (best[..., 1] + 0.01)).mean())),
            "worse": tuple((values.mean(axis=1) > limit).sum(axis=0).tolist()),
        }
        for name, values in arrays.items()
    ]
    if arguments.json:
        print(json.dumps(table))
    else:
        dc.reports.show_table(table, f"{arguments.problems} development problems")


if __name__ == "__main__":
    main()
