"""Recorded telemetry, read back for the same stages that live records go through."""
