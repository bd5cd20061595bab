"""Loading without the garbage collector: it would walk again and again through what stays anyway."""

import gc


def begin() -> None:
    """Keep the collector away from now on. What is loaded is rules and tables: much, and hardly any garbage."""
    gc.disable()


def end() -> None:
    """Let it collect again, but leave alone what was loaded until now."""
    gc.freeze()
    gc.enable()


def replaced() -> None:
    """Let go of what was loaded and has been replaced since, which the collector was told to leave alone."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
