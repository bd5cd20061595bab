"""The benchmarks aren't part of the package: they are found beside it, in the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
