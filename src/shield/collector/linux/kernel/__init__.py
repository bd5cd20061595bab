"""The host's kernel, and when it changes: mounts, clock, modules, BPF programs, processes out of sight."""
