"""Who makes most of the events, counted in little memory."""

from shield.agent.producers import Producer, Producers
from shield.event import Data, Event, Process


def event(exe: str) -> Event:
    data = Data(process=Process(pid=1, exe=exe)) if exe else Data()
    return Event(1, "h", "process_start", "ALLOW", 0, "low_signal", data, "", "", "")


def note(producers: Producers, exe: str, times: int) -> None:
    for _ in range(times):
        producers.note(event(exe))


def test_the_largest_come_first() -> None:
    producers = Producers()
    for exe, times in (("/bin/few", 1), ("/bin/many", 5), ("", 3)):
        note(producers, exe, times)
    assert [(one.program, one.events) for one in producers.top()] == [("/bin/many", 5), ("", 3), ("/bin/few", 1)]


def test_what_is_long_past_fades() -> None:
    producers = Producers()
    note(producers, "/bin/old", 4)
    producers.fade()
    note(producers, "/bin/new", 3)
    assert [one.program for one in producers.top()] == ["/bin/new", "/bin/old"]
    for _ in range(3):
        producers.fade()
    assert producers.top() == ()


def test_however_many_programs_there_are_the_largest_are_never_forgotten() -> None:
    producers = Producers()
    note(producers, "/bin/loud", 50)
    for number in range(5000):
        producers.note(event(f"/bin/{number}"))
    assert producers.top()[0] == Producer("/bin/loud", "process_start", 50)
    assert len(producers._counts) <= 513
