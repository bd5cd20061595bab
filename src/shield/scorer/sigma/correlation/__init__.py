"""Correlation rules: what they are (`rule`), and several matches of other rules judged over time (`correlations`).

The rest of Shield uses the names below. Specification:
https://sigmahq.io/sigma-specification/specification/sigma-correlation-rules-specification.html
"""

from shield.scorer.sigma.correlation.correlations import BYTES_MOST, Correlations, unresolved
from shield.scorer.sigma.correlation.match import CorrelationMatch, signal
from shield.scorer.sigma.correlation.rule import Correlation
from shield.scorer.sigma.correlation.state import StateRefused

__all__ = ["BYTES_MOST", "Correlation", "CorrelationMatch", "Correlations", "StateRefused", "signal", "unresolved"]
