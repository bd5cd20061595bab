"""When records are left to gather."""

from shield.agent.pace import FLOOD_RECORDS_S, GATHER_S, Pace


def paced(records_s: float) -> Pace:
    pace = Pace()
    for step in range(1, 101):
        pace.note(int(records_s / 100), step / 100)
    return pace


def test_few_records_are_read_at_once() -> None:
    assert Pace().gather_s() == 0
    assert paced(FLOOD_RECORDS_S * 0.5).gather_s() == 0


def test_a_flood_is_left_to_gather_until_it_is_over() -> None:
    pace = paced(FLOOD_RECORDS_S * 2)
    assert pace.gather_s() == GATHER_S
    pace.note(1, 2.0)
    assert pace.gather_s() == 0
