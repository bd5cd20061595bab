"""What each story has taught lately, so that it can be unlearnt if the story turns out to be bad after all."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from shield.scorer.baseline.observation import Kind, Subject

LESSON_FORGOTTEN = "lesson_forgotten"
LESSONS_MOST = 16_384


class Lesson(NamedTuple):
    """One subject that a story made count as seen on a day."""

    story: str
    day: int
    kind: Kind
    subject: Subject


class Lessons:
    """At most `LESSONS_MOST` lessons; those of the story that began to teach first are forgotten first.

    That is the way of old ones. Where even those of today or yesterday have to go, they are counted in `dropped`.
    """

    def __init__(self, dropped: Counter[str]) -> None:
        self._dropped = dropped
        self._by_story: OrderedDict[str, list[Lesson]] = OrderedDict()
        self._count = 0

    def __iter__(self) -> Iterator[Lesson]:
        return (lesson for lessons in self._by_story.values() for lesson in lessons)

    def note(self, lesson: Lesson) -> None:
        """Remember a lesson; one without a story can't be taken back."""
        if not lesson.story:
            return
        self._by_story.setdefault(lesson.story, []).append(lesson)
        self._count += 1
        if self._count > LESSONS_MOST:
            forgotten = self.taken_back(next(iter(self._by_story)))
            self._dropped[LESSON_FORGOTTEN] += sum(old.day >= lesson.day - 1 for old in forgotten)

    def taken_back(self, story: str) -> list[Lesson]:
        """Forget the lessons of `story`, and return them."""
        lessons = self._by_story.pop(story, [])
        self._count -= len(lessons)
        return lessons
