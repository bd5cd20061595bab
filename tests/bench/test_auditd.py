"""Reading the peers' own logs: a benchmark that misreads a peer isn't fair."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

auditd = pytest.importorskip("bench.auditd", reason="the benchmarks run on Linux only")

HEAD = "type=EXECVE msg=audit(1795552930.411:707): "
PLAIN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=20)
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def field(argument: str) -> str:
    """Write an argument as the kernel's audit_log_untrustedstring does."""
    raw = argument.encode()
    plain = all(0x21 <= byte <= 0x7E and byte != ord('"') for byte in raw)
    return f'"{argument}"' if plain else raw.hex().upper()


@given(st.lists(PLAIN | ANY, min_size=1, max_size=6))
def test_arguments_are_read_as_they_were_given(argv: list[str]) -> None:
    fields = " ".join(f"a{index}={field(argument)}" for index, argument in enumerate(argv))
    assert list(auditd.argument_vectors([f"{HEAD}argc={len(argv)} {fields}\n"])) == [argv]


def test_a_long_argument_is_put_together_from_several_records() -> None:
    records = [
        f'{HEAD}argc=2 a0="/bin/true" a1_len=6000 a1[0]={"41" * 1500}\n',
        f"{HEAD}a1[1]={'42' * 1500}\n",
    ]
    assert list(auditd.argument_vectors(records)) == [["/bin/true", "A" * 1500 + "B" * 1500]]


def test_records_of_other_types_and_what_auditd_appends_are_passed_over() -> None:
    records = [
        'type=SYSCALL msg=audit(1.0:707): a0=55 a1=7f comm="true"\x1dARCH=x86_64\n',
        f'{HEAD}argc=1 a0="true"\x1da1="not an argument"\n',
        "type=PROCTITLE msg=audit(1.0:707): proctitle=74727565\n",
    ]
    assert list(auditd.argument_vectors(records)) == [["true"]]


def test_a_vector_that_lacks_a_part_is_not_taken_for_a_whole_one() -> None:
    assert list(auditd.argument_vectors([f'{HEAD}argc=3 a0="true" a2="last"\n'])) == []
