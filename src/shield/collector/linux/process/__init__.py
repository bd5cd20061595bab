"""Programs that start and end: one module a source, and what reads its records."""
