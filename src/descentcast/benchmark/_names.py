"""Whom the benchmark compares, and its sizes: names and numbers only, so that a command line can offer them at once."""

STACK = "stack"
SMALL, FROZEN = "descent-small", "smollm2-135m"
MODELS = (SMALL, FROZEN)
LOCAL_LINEAR, DENSITY, AUTOREGRESSIVE, COUNTS = "local-linear", "conditional-density", "autoregressive", "counts"
RECALIBRATED = " recalibrated"  # after the name of any of the above
MEMBERS = (SMALL + RECALIBRATED, LOCAL_LINEAR + RECALIBRATED, DENSITY + RECALIBRATED)
DEFAULT = (*MEMBERS, SMALL, LOCAL_LINEAR, DENSITY, AUTOREGRESSIVE, COUNTS, STACK)
ESTIMATORS = (*DEFAULT, FROZEN, FROZEN + RECALIBRATED)
FLOOR, MARGINAL, LAST, NEAREST = "true kernel", "marginal", "last value", "nearest minimum"
BASELINES = (FLOOR, MARGINAL, LAST, NEAREST)
SEEDS, VIEWS = 5, 4
RESULTS = "kernels.jsonl"
