"""The public recorded cases, each as an event log and as JSON: the rule that belongs to a case finds its events."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from shield.agent import rulebook
from shield.agent.recording import Recording
from shield.collector.replay.damage import Damaged
from shield.scorer.sigma.matcher import Matcher

SHARED = Path(__file__).parents[3] / "shared" / "data"
CASES = sorted(path.parent for path in (SHARED / "regression").rglob("info.yml"))
FORMATS = (".evtx", ".json", ".jsoncls")

pytestmark = pytest.mark.skipif(not CASES, reason="the public recordings (shared/data/regression) aren't here")


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    rules = rulebook.load([str(SHARED / "sigmahq")]).rules
    return Matcher(rules, {rule.id: 50 for rule in rules})


def hits(matcher: Matcher, path: Path) -> Counter[str]:
    damages: list[Damaged] = []
    with path.open("rb") as file:
        found = Counter(
            rule.id for event in Recording(damages.append).drafts(file, str(path)) for rule in matcher.matching(event)
        )
    assert not damages
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_rule_of_a_case_finds_all_of_its_events(matcher: Matcher, case: Path) -> None:
    about = yaml.safe_load((case / "info.yml").read_text())
    recordings = [path for path in case.iterdir() if path.suffix in FORMATS]
    if not recordings:
        pytest.skip("a recording of a device, in none of the formats of hosts")
    wanted = {test["path"].rpartition("/")[2]: test.get("match_count") for test in about["regression_tests_info"]}
    rule_id = about["rule_metadata"][0]["id"]
    counts = {path.name: hits(matcher, path)[rule_id] for path in recordings}
    for name, count in counts.items():
        assert count >= 1, name
        assert count == (wanted.get(name) or count), name
