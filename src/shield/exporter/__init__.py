"""Exporters: where events leave the agent, to files and to people, and how the files are read back."""
