"""The prior of the variance between runs, as calibrated on development families."""

from descentcast.trials._variance import VariancePrior

# `python benchmarks/trials.py --parts development` prints what it rests on: phi of families whose runs are what their
# kernels say lies between 0.2 and 1.7, that of a family with an unstable arm at 5, and of runs that settle in different
# basins at 400. The last component is heavy on purpose: from one run an arm nothing can be told of it, and intervals
# that rest on one run an arm have to be wide. Biases of 0.1 v are usual (0.4 and 0.6 for extremes and times), and
# several v where a slow loss is followed on too coarse a grid, as in trainings on breast_cancer.
CALIBRATED = VariancePrior(
    weights=(0.7, 0.1, 0.2),
    dof=(6.0, 2.0, 1.0),
    scales=(0.9, 8.0, 1000.0),
    bias=(0.2, 3.0),
    bias_weights=(0.8, 0.2),
    source="eight development families",
)
