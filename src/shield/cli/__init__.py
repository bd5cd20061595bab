"""The command `shield`: thin commands over the rooms below, one module each."""
