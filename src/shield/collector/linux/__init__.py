"""Sources of telemetry on Linux."""
