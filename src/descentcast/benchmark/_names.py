"""Whom the benchmark compares, and its sizes: names and numbers only, so that a command line can offer them at once."""

STACK = "stack"
SMALL, FROZEN = "descent-small", "smollm2-135m"
MODELS = (SMALL, FROZEN)
LOCAL_LINEAR, DENSITY, AUTOREGRESSIVE, COUNTS = "local-linear", "conditional-density", "autoregressive", "counts"
MEMBERS = (SMALL, LOCAL_LINEAR, DENSITY)
ESTIMATORS = (SMALL, LOCAL_LINEAR, DENSITY, AUTOREGRESSIVE, COUNTS, STACK, FROZEN)
DEFAULT = ESTIMATORS[:-1]
FLOOR, MARGINAL, LAST, NEAREST = "true kernel", "marginal", "last value", "nearest minimum"
BASELINES = (FLOOR, MARGINAL, LAST, NEAREST)
SEEDS, VIEWS = 5, 4
RESULTS = "kernels.jsonl"
