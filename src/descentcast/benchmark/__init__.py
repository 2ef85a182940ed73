"""A fixed benchmark of kernel estimators: problems whose kernels are known, contexts, judging by simulation."""

from descentcast.benchmark._suite import BenchmarkProblem, Suite, load_suite

__all__ = ["BenchmarkProblem", "Suite", "load_suite"]
