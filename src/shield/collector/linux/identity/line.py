"""Lines of syslog and entries of the journal that tell of logins and accounts, as log records.

Kept are the lines of the programs that let people in, whatever they say, and what PAM says for any other. Cron opens a
session for each job: of cron only changed tables are told. What account tools say of changed accounts is left to the
account files themselves, which know of every change, whoever made it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO

from shield.collector.linux.identity.told_once import Rank
from shield.collector.replay import auditd, syslog
from shield.collector.replay.syslog_line import Dates
from shield.record import LogRecord

PROGRAMS = frozenset(
    (
        *("sshd", "sshd-session", "sshd-auth", "dropbear", "sudo", "su", "doas", "pkexec", "login", "runuser"),
        *("polkitd", "polkit-agent-helper-1", "systemd-logind", "unix_chkpwd", "newgrp", "vsftpd", "xrdp-sesman"),
        *("gdm-password", "gdm", "lightdm", "sddm", "cockpit-session", "crontab"),
        *("useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "gpasswd", "adduser", "deluser"),
        *("passwd", "chpasswd", "chage", "chfn", "chsh"),
    )
)
"""The programs whose every line is told."""

_CRON = frozenset(("cron", "CRON", "crond", "CROND", "anacron", "atd", "fcron"))


class IdentityLines:
    """Makes records of lines, in their order, and counts those it leaves out.

    `accounts_told` says that changes to accounts are told by another source.
    """

    def __init__(self, calendar: Dates, accounts_told: bool) -> None:
        self.seen = 0
        self.filtered: Counter[str] = Counter()
        self._calendar = calendar
        self._accounts_told = accounts_told

    def records(self, lines: Iterable[bytes]) -> Iterator[tuple[Rank, LogRecord]]:
        """Yield what the lines tell; one that begins with white space goes on with the one before it."""
        text = b"".join(line.lstrip(b"\0") + b"\n" for line in lines)
        for _, raw in syslog.entries(BytesIO(text)):
            self.seen += 1
            line = syslog.split(raw, self._calendar)
            if line is None:
                self.filtered["no_log_line"] += 1
            elif auditd.in_syslog(line) is not None:
                self.filtered["audit_record"] += 1
            elif (left_out := self._left_out(record := syslog.record(line))) is not None:
                self.filtered[left_out] += 1
            else:
                yield _rank(record), record

    def _left_out(self, record: LogRecord) -> str | None:
        happened = record.fields.get("event")
        if self._accounts_told and happened == "account_changed":
            return "told_by_account_files"
        if record.provider in PROGRAMS or (happened is not None and record.provider not in _CRON):
            return None
        return None if happened == "crontab" else "not_about_identity"


def _rank(record: LogRecord) -> Rank:
    """Return how far a line is believed: both of these announce what the program's own line says for good."""
    told_again = record.fields.get("method") == "pam" or record.fields.get("event") == "invalid_user"
    return Rank.PAM if told_again else Rank.PROGRAM
