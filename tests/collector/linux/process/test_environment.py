"""What is kept of an environment."""

from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.process.environment import notable
from shield.text import encode

names = st.sampled_from(
    [b"PATH", b"LD_PRELOAD", b"LD_X", b"HISTFILE", b"HISTFILESIZE", b"MY_LD_", b"SUDO_USER", b"TOKEN"]
)
values = st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b""))


def test_what_changes_the_code_that_runs_is_kept() -> None:
    environment = (
        b"PATH=/bin\0LD_PRELOAD=/tmp/x.so\0SSH_CONNECTION=1.2.3.4 5 6.7.8.9 22\0SUDO_USER=eve\0HISTFILE=/dev/null\0"
    )
    assert notable(environment) == {
        "LD_PRELOAD": "/tmp/x.so",
        "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22",
        "SUDO_USER": "eve",
        "HISTFILE": "/dev/null",
    }


def test_secrets_are_left_alone() -> None:
    assert notable(b"AWS_SECRET_ACCESS_KEY=x\0OLD_LD_PRELOAD=y\0HISTFILESIZE=0\0") == {}


def test_a_kept_name_inside_a_value_is_no_variable() -> None:
    assert notable(b"X=LD_PRELOAD=/tmp/x.so\0") == {}


@given(st.dictionaries(names, values, max_size=8))
def test_exactly_the_kept_names_survive_with_their_bytes(environment: dict[bytes, bytes]) -> None:
    raw = b"".join(name + b"=" + value + b"\0" for name, value in environment.items())
    kept = {b"LD_PRELOAD", b"LD_X", b"HISTFILE", b"SUDO_USER"}
    found = {encode(name): encode(value) for name, value in notable(raw).items()}
    assert found == {name: value for name, value in environment.items() if name in kept}


@given(st.binary(max_size=200))
def test_any_bytes_are_an_environment(raw: bytes) -> None:
    assert all(isinstance(value, str) for value in notable(raw).values())
