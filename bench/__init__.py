"""Shield measured beside its peers, in one run on one machine: `python -m bench.capture`, `.overhead`, `.churn`."""
