"""`shield indicators check` as a user runs it."""

from pathlib import Path

from typer.testing import CliRunner, Result

from shield.cli.main import app


def check(*places: Path) -> Result:
    return CliRunner().invoke(app, ["indicators", "check", *map(str, places)])


def test_indicators_are_counted_by_kind(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("evil.example\n198.51.100.7\n")
    (tmp_path / "two.csv").write_text("value,expires\nold.example,2001-01-01\n")
    done = check(tmp_path)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "3 indicators from 2 files: domain 2, ip 1",
        "1 of them have expired",
        "0 entries and 0 files can't be used",
    ]


def test_what_cannot_be_used_is_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("evil.example\n127.0.0.1\n")
    (tmp_path / "cut.json").write_text('{"type":"bundle","objects":[')
    done = check(tmp_path)
    assert done.exit_code == 1
    assert f"{tmp_path}/one.txt:2: 127.0.0.1 is a private or reserved address; take it out of the feed" in done.stdout
    assert done.stdout.count(f"{tmp_path}/cut.json") == 1
    assert "2 entries and 1 files can't be used" in done.stdout


def test_a_place_that_is_missing_is_refused(tmp_path: Path) -> None:
    done = check(tmp_path / "none")
    assert done.exit_code == 2
    assert "there is no such file or folder" in done.stderr
