"""Scorer: what an event is worth, and why. Pure: rules in as texts, signals and a score out."""
