"""Where do runs land? Two recorded runs of a double well, and forecasts from starts that nobody ran.

Two minima, one recorded run in each. A classical kernel is estimated from the two runs and forecasts starts that nobody
ran; the known kernel of the problem shows what a perfect estimate would have said. Replace `LocalLinearKernel()` by
`InContextKernel()` to let a language model read the runs instead.

Run it with `python examples/plot_landing.py`; it writes `out/landing.png`.
"""

from pathlib import Path

import numpy as np

import descentcast as dc

problem = dc.problems.DoubleWell(step_size=0.15)
runs = problem.simulate([-0.3, 0.3], steps=150, random_state=1)

estimate = dc.LocalLinearKernel().fit(runs)
starts = np.linspace(-0.8, 0.8, 9)
basins = [(estimate.edges_[0], 0.0), (0.0, estimate.edges_[-1])]
forecasts = {
    "local-linear": dc.forecast(estimate, starts, steps=60, basins=basins),
    "truth": dc.forecast(problem.kernel(estimate.edges_), starts, steps=60, basins=basins),
}
for name, result in forecasts.items():
    right = result.landing.query("basin == 'basin 1'")["probability"]
    print(f"{name:14}", "  ".join(f"{p:.2f}" for p in right))

axes = dc.plot_landing({name: result.landing for name, result in forecasts.items()})
Path("out").mkdir(exist_ok=True)
axes.figure.savefig("out/landing.png", dpi=150)
