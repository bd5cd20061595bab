"""Capability sets by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.privilege import capability


def test_names_are_the_kernels_numbers() -> None:
    assert capability.mask("CAP_CHOWN") == 1
    assert capability.mask("CAP_SYS_ADMIN", "CAP_BPF") == 1 << 21 | 1 << 39
    assert capability.names(1 << 40) == ("CAP_CHECKPOINT_RESTORE",)
    with pytest.raises(ValueError, match="not in"):
        capability.mask("CAP_NONE")


@given(st.integers(0, (1 << 64) - 1))
def test_every_bit_has_a_name_of_its_own(capabilities: int) -> None:
    assert len(set(capability.names(capabilities))) == capabilities.bit_count()
