"""What the benchmarks of estimators share: chains with known laws, one-step and whole-kernel comparisons, results."""
