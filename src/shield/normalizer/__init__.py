"""Normalizer: raw records become events, each joined to the processes above it. Pure: no clock, no files."""
