"""
A clear is a try like any other: whenever it comes, FullStory has each event once, and no try is blind.

Moving the clock takes long, so all imports are told as one story: people run them; an hour later they change
and clear them; three days later they do so again. The tests look at what had become of each by then.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.real_airflow.clears import (
    BATCHES,
    FLEETING,
    LASTING,
    LEDGERS,
    ROWS,
    TASK,
    Import,
    Outcome,
    outcomes,
    wait_for_dags,
    write_dags,
)
from tests.real_airflow.runs import assert_keeps_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from demo.services import Services

pytestmark = pytest.mark.all_airflows

HOUR = 3600
ALL = list(range(ROWS))
REJECTED = "secret-customer-rejected"
MISTAKEN = {"mapping": {"user.uid": "email"}}
FIXED = {"mapping": {"user.uid": "customer"}}
ACCEPTED = "3 batches with 10 records"
SENT = [False] * BATCHES
RECOGNIZED = [True] * BATCHES


class Story:
    """What is told: all imports, and what had become of them at each time."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.imports: dict[str, Import] = {}
        self.at_first: dict[str, Outcome] = {}
        self.made_anew: dict[str, Outcome] = {}

    def add(self, case: str, ledgers: Iterable[str], **arguments: object) -> list[Import]:
        added = [Import(self.services, case, ledger, dict(arguments)) for ledger in ledgers]
        self.imports |= {one.name: one for one in added}
        return added

    def change(self, case: str, **arguments: object) -> None:
        """Change the DAGs of a case."""
        for one in self.of(case):
            one.arguments |= arguments

    def execute(self, case: str, *statements: str) -> None:
        """Change the tables of a case."""
        for one in self.of(case):
            one.execute(*statements)

    def of(self, *cases: str) -> list[Import]:
        return [one for one in self.imports.values() if one.case in cases]

    def publish(self) -> None:
        write_dags(self.services, self.imports.values())

    def follow(self, imports: Iterable[Import], start: Callable[[Import], None]) -> dict[str, Outcome]:
        """Start tries of imports at the same time, and return what became of them."""
        posted = len(self.services.emulator.requests())
        started = list(imports)
        for one in started:
            start(one)
        for one in started:
            one.wait()
        return outcomes(self.services, started, posted)


@pytest.fixture(scope="module")
def story(running: Services) -> Story:
    """Run all imports for the first time."""
    running.emulator.reset()
    running.emulator.order_rejection("user.uid", [REJECTED])
    story = Story(running)
    story.add("unchanged", LEDGERS, deferrable=True)
    story.add("changed", LASTING)
    story.add("all_refused", LASTING, **MISTAKEN)
    story.add("one_refused", LASTING, **MISTAKEN)
    story.add("one_rejected", LEDGERS)
    story.add("mapped", LEDGERS[-1:], form="mapped")
    story.add("nested", LEDGERS[-1:], form="nested")
    story.add("broken", ["folder"], stage_batches=True, retries=0)
    story.add("staged", ["folder"], stage_batches=True, **MISTAKEN)
    story.execute("all_refused", "UPDATE {table} SET email = NULL")
    story.execute("one_refused", "UPDATE {table} SET email = NULL WHERE number = 9")
    story.execute("staged", "UPDATE {table} SET email = NULL WHERE number = 9")
    story.execute("one_rejected", f"UPDATE {{table}} SET customer = '{REJECTED}' WHERE number = 9")
    story.publish()
    wait_for_dags(running, story.imports.values())

    # Of a task that waits in the triggerer, Airflow has to note that before its jobs are finished.
    running.emulator.configure(processing_seconds=HOUR)
    waiting = story.of("unchanged")
    for one in waiting:
        one.begin()
    for one in waiting:
        one.run.wait_until("deferred", TASK)
    running.emulator.configure(processing_seconds=0)

    # The API key is taken back after the first batch.
    running.emulator.order_fault(method="POST", after=1, status=401, times=99)
    story.follow(story.of("broken"), Import.begin)
    running.emulator.forget_faults()

    others = [one for one in story.imports.values() if one.case not in {"unchanged", "broken"}]
    story.follow(others, Import.begin)
    running.emulator.advance_clock(HOUR)
    for one in waiting:
        one.wait()
    story.at_first = outcomes(running, story.imports.values())

    story.execute("broken", "UPDATE {table} SET customer = 'secret-customer-new' WHERE number = 9")
    story.execute("staged", "UPDATE {table} SET email = 'secret-new@example.com' WHERE number = 9")
    # Not later, since Airflow compares when a new run is due with the clock of its database.
    story.made_anew = story.follow(story.of("broken", "staged"), Import.make_anew)
    return story


@pytest.fixture(scope="module")
def an_hour_later(story: Story, move_clock: Callable[[timedelta], None]) -> dict[str, Outcome]:
    """Change and clear imports after an hour."""
    story.change("unchanged", retries=0)
    story.execute("changed", "UPDATE {table} SET customer = 'secret-customer-new' WHERE number = 5")
    story.change("all_refused", **FIXED)
    story.change("one_refused", **FIXED)
    story.publish()
    move_clock(timedelta(hours=1))
    wait_for_dags(story.services, story.imports.values())
    return story.follow(story.imports.values(), Import.clear)


@pytest.fixture(scope="module")
def three_days_later(
    story: Story,
    an_hour_later: dict[str, Outcome],
    move_clock: Callable[[timedelta], None],
) -> dict[str, Outcome]:
    """Change and clear imports after three more days."""
    story.change("unchanged", retries=5)
    story.change("one_rejected", max_rejected=1)
    for one in story.of("one_rejected"):
        if one.ledger in LASTING:
            one.execute("DROP TABLE {table}")
    story.publish()
    move_clock(timedelta(days=3))
    wait_for_dags(story.services, story.imports.values())
    return story.follow(story.imports.values(), Import.clear)


def test_the_state_folder_of_airflows_configuration(running: Services) -> None:
    running.emulator.reset()
    uri = f"file://{running.directory}/configured"
    [one] = Story(running).add("configured", LEDGERS[-1:])
    write_dags(running, [one])
    wait_for_dags(running, [one])
    with running.airflow.configured(AIRFLOW__FULLSTORY__STATE_URI=uri):
        one.begin()
        one.wait()
        first = outcomes(running, [one])[one.name]
        one.clear()
        one.wait()
        second = outcomes(running, [one])[one.name]
    for outcome in (first, second):
        check(outcome, "success", ACCEPTED, ALL, SENT)
        assert f"State: a ledger in {uri}/imports/{one.name}/" in outcome.log
    assert second.tries == [2]


def ledgers(case: str, *names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [f"clears_{case}_{name}" for name in names], ids=names)


def check(outcome: Outcome, state: str, said: str, numbers: list[int], posts: list[bool]) -> None:
    """Check how a try ended and that it says so, and what FullStory has and had to do."""
    assert (outcome.states, outcome.numbers, outcome.posts) == ([state], numbers, posts)
    assert said in outcome.log


@ledgers("unchanged", *LEDGERS)
def test_time_has_passed(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    first, second, third = (
        told[name].started_at for told in (story.at_first, an_hour_later, three_days_later)
    )
    assert first
    assert second
    assert third
    assert second - first > timedelta(hours=1)
    assert third - second > timedelta(days=3)


@ledgers("unchanged", *LASTING)
def test_a_green_task_sends_nothing_that_fullstory_has(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    assert (story.at_first[name].states, story.at_first[name].max_tries) == (["success"], [2])
    for told, max_tries in ((an_hour_later, 1), (three_days_later, 7)):
        check(told[name], "success", ACCEPTED, ALL, [])
        assert "Importing events from the query" in told[name].log
        # It has fewer retries now than before, and then more.
        assert told[name].max_tries == [max_tries]


@ledgers("unchanged", *FLEETING)
def test_a_green_task_whose_ledger_is_gone_is_recognized_for_a_day(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    check(an_hour_later[name], "success", ACCEPTED, ALL, RECOGNIZED)
    assert an_hour_later[name].max_tries == [1]
    check(three_days_later[name], "failed", "its ledger is gone", ALL, [])
    assert "it was not sent again" in three_days_later[name].log


@ledgers("changed", *LASTING)
def test_a_green_task_whose_rows_changed_fails_and_says_how_the_import_had_ended(
    an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    for told in (an_hour_later, three_days_later):
        check(told[name], "failed", "Batch 2 is not the one that an earlier try sent", ALL, [])
        assert "That import had ended with 10 of 10 records in FullStory" in told[name].log


@ledgers("all_refused", *LASTING)
def test_a_red_task_of_which_fullstory_has_nothing_is_sent_once_its_mapping_is_right(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    check(story.at_first[name], "failed", "10 of 10 records are not in FullStory", [], [])
    check(an_hour_later[name], "success", ACCEPTED, ALL, SENT)
    check(three_days_later[name], "success", ACCEPTED, ALL, [])


@ledgers("one_refused", *LASTING)
def test_a_red_task_of_which_fullstory_has_much_stays_red_with_another_mapping(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    check(story.at_first[name], "failed", "1 of 10 records is not in FullStory", ALL[:9], SENT)
    for told in (an_hour_later, three_days_later):
        check(told[name], "failed", "Its arguments changed", ALL[:9], [])
        assert "That import had ended with 9 of 10 records in FullStory" in told[name].log


@ledgers("one_rejected", *LASTING)
def test_a_red_task_is_judged_again_and_asks_no_source(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    check(story.at_first[name], "failed", "1 of 10 records is not in FullStory", ALL[:9], SENT)
    check(an_hour_later[name], "failed", "1 of 10 records is not in FullStory", ALL[:9], [])
    # By now, there is no such table.
    check(three_days_later[name], "success", "max_rejected=1 allows that", ALL[:9], [])
    for told in (an_hour_later, three_days_later):
        assert (
            "Earlier tries have sent all 3 batches with 10 records: nothing is sent again, their jobs count."
            in told[name].log
        )


@ledgers("one_rejected", *FLEETING)
def test_a_red_task_whose_ledger_is_gone_is_recognized_for_a_day(
    an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome], name: str
) -> None:
    check(an_hour_later[name], "failed", "1 of 10 records is not in FullStory", ALL[:9], RECOGNIZED)
    assert three_days_later[name].states == ["failed"]


def test_no_try_doubles_an_event(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome]
) -> None:
    for told in (story.at_first, story.made_anew, an_hour_later, three_days_later):
        for name, outcome in told.items():
            wanted = 2 if "nested" in name else 1
            assert all(count <= wanted for count in Counter(outcome.numbers).values()), name


@ledgers("mapped", LEDGERS[-1])
def test_mapped_tasks_send_nothing_that_fullstory_has(an_hour_later: dict[str, Outcome], name: str) -> None:
    outcome = an_hour_later[name]
    assert (outcome.states, outcome.tries, outcome.numbers) == (["success"] * 2, [2, 2], ALL)
    assert all(outcome.posts)
    assert outcome.log.count("All is sent") == 2


@ledgers("nested", LEDGERS[-1])
def test_two_operators_in_one_task_are_two_imports(
    story: Story, an_hour_later: dict[str, Outcome], name: str
) -> None:
    assert story.at_first[name].numbers == sorted(ALL * 2)
    outcome = an_hour_later[name]
    assert (outcome.states, outcome.tries, outcome.numbers) == (["success"], [2], sorted(ALL * 2))
    assert all(outcome.posts)
    assert outcome.log.count("All is sent") == 2


def test_a_staged_run_that_was_made_anew_sends_no_rows_of_before(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome]
) -> None:
    name = "clears_broken_folder"
    check(story.at_first[name], "failed", "Staged 10 records in 3 batches", ALL[:4], [False])
    remade = story.made_anew[name]
    check(remade, "success", "All is sent", ALL, [False, False])
    assert remade.tries == [1]
    assert remade.events[9] == (9, "secret-customer-new")
    for told in (an_hour_later, three_days_later):
        check(told[name], "success", ACCEPTED, ALL, [])


def test_a_staged_run_that_was_made_anew_over_rows_that_fullstory_has_says_so(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome]
) -> None:
    name = "clears_staged_folder"
    check(story.at_first[name], "failed", "1 of 10 records is not in FullStory", ALL[:9], SENT)
    assert story.made_anew[name].tries == [1]
    for told in (story.made_anew, an_hour_later, three_days_later):
        check(told[name], "failed", "Batch 3 is not the one that an earlier try sent", ALL[:9], [])


def test_no_try_shows_a_secret(
    story: Story, an_hour_later: dict[str, Outcome], three_days_later: dict[str, Outcome]
) -> None:
    for told in (story.at_first, story.made_anew, an_hour_later, three_days_later):
        for outcome in told.values():
            assert_keeps_secrets(outcome.shown, story.services.emulator, "secret-")


@pytest.fixture(scope="module")
def after_a_look(story: Story, three_days_later: dict[str, Outcome]) -> dict[str, Outcome]:
    """Clear once more what failed for the loss of its ledger; then let it send, since somebody has looked."""
    lost = [one for one in story.of("unchanged") if one.ledger in FLEETING]
    again = story.follow(lost, Import.clear)
    for one in lost:
        check(again[one.name], "failed", "its ledger is gone", ALL, [])
    story.change("unchanged", on_ambiguous="resend")
    story.publish()
    return story.follow(lost, Import.clear)


@ledgers("unchanged", *FLEETING)
def test_what_somebody_has_looked_for_is_sent_again(after_a_look: dict[str, Outcome], name: str) -> None:
    check(after_a_look[name], "success", ACCEPTED, sorted(ALL * 2), SENT)
