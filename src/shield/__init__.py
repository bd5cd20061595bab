"""CYBERDUDEBIVASH-Shield: observe, decide and act on a host, explainably and reversibly.

An event travels one way: collector -> normalizer -> scorer -> policy -> exporter. Each stage is a package here.
"""

__version__ = "0.1.0"
