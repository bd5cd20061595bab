"""Collectors: one module a source of telemetry, each turning its own format into `shield.record` records."""
