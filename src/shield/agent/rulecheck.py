"""Reviewing rule files: each rule by itself, and all of them together."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from shield.agent import rulebook
from shield.agent.rulebook import NoRules, Progress
from shield.policy.document import DocumentError, documents
from shield.scorer.sigma.review import Finding, Subject, refusal, review, review_all, subject


class Review(Struct, frozen=True):
    """What a review found, by file and line; `rules` is how many rules, correlations and filters could be read."""

    findings: tuple[Finding, ...]
    rules: int
    files: int

    @property
    def errors(self) -> int:
        """How many findings keep a rule from being used."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings do not."""
        return len(self.findings) - self.errors


def check(
    places: Sequence[str],
    placeholders: Mapping[str, Sequence[str]] | None = None,
    progress: Progress = lambda items, _: items,
) -> Review:
    """Return what is wrong with the rules in `places`, the shipped ones where none is given.

    `placeholders` are the policy's. Raises NoRules where a place is missing or holds no rule file.
    """
    files, unread = rulebook.contents(places)
    if not files and not unread:
        raise NoRules(f"there is no rule file in {', '.join(places)}; rule files end in .yml or .yaml")
    findings = [Finding("error", path, 0, "", problem, "check its owner and mode") for path, problem in unread]
    subjects: list[Subject] = []
    for path, content in progress(files, len(files)):
        subjects += _read(path, content, placeholders or {}, findings)
    findings += review_all(subjects)
    findings.sort(key=lambda finding: (finding.file, finding.line))
    return Review(tuple(findings), len(subjects), len(files))


def _read(
    path: str, content: bytes, placeholders: Mapping[str, Sequence[str]], findings: list[Finding]
) -> list[Subject]:
    """Return the rules in one file, and tell of what is wrong with them."""
    from shield.scorer.sigma.parse import item_of  # noqa: PLC0415  pySigma takes long to import

    subjects: list[Subject] = []
    try:
        found = documents(content, path)
    except DocumentError as error:
        findings.append(refusal(error))
        return []
    if not found:
        findings.append(Finding("error", path, 0, "", "the file is empty", "write a rule, or delete it"))
    for document in found:
        try:
            item = item_of(document)
        except DocumentError as error:
            findings.append(refusal(error))
            continue
        findings += review(document, item, placeholders)
        subjects.append(subject(document, item))
    return subjects
