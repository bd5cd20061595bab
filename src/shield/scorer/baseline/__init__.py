"""The baseline: what is normal on this host, learnt by watching it, and what an event shows that is not.

The rest of Shield uses `Baseline(settings)`: `signals(event)` before the verdict, `learn(event, action)` after it,
`export()` and `restore(state)` to outlive a restart. Pure: time is that of the events.
"""

from shield.scorer.baseline.baseline import Baseline, Status, Thing
from shield.scorer.baseline.state import BaselineDamaged

__all__ = ["Baseline", "BaselineDamaged", "Status", "Thing"]
