"""Users and events one by one, proven for both hooks by the same tests."""

from __future__ import annotations

import datetime
import socket
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import (
    FullStoryBadRequestError,
    FullStoryError,
    FullStoryInputError,
    FullStoryNotFoundError,
    FullStoryPermissionError,
    FullStoryUnreachableError,
)
from tests.hooks.servers import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient

#: A call with an idempotency key, and where it goes.
WITH_KEY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "create_user": ("/v2/users", lambda hook: hook.create_user(uid="new")),
    "create_event": ("/v2/events", lambda hook: hook.create_event("A", user={"uid": "ann"})),
}
#: A call without one that changes something.
WITHOUT_KEY: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "update_user": ("/v2/users/*", lambda hook, ann: hook.update_user(ann, email="new")),
    "delete_user": ("/v2/users/*", lambda hook, ann: hook.delete_user(id=ann)),
    "delete_user by uid": ("/v2/users", lambda hook, _: hook.delete_user(uid="ann")),
}
READS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "get_user": ("/v2/users/*", lambda hook, ann: hook.get_user(ann)),
    "list_users": ("/v2/users", lambda hook, _: list(hook.list_users())),
}
#: After these FullStory may have done the work.
LOST: list[dict[str, Any]] = [
    {"status": 408},
    {"status": 500},
    {"status": 503, "work_done": True},
    {"status": 409},
    {"reset": "before"},
    {"reset": "after"},
    {"status": 200, "body": "no object", "work_done": True},
]
#: So they may after another kind of success, such as that of a proxy.
OTHER_SUCCESS: list[dict[str, Any]] = [{"status": 202}, {"status": 204}]
LIMITED = {"status": 429, "headers": {"Retry-After": "0.01"}}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)


@pytest.fixture
def ann(hook: Any) -> str:
    """Give FullStory's id of a user."""
    user_id: str = hook.create_user(uid="ann", email="ann@example.com", properties={"plan": "free"})
    return user_id


def asked(emulator: EmulatorClient, since: int = 0) -> list[dict[str, Any]]:
    return emulator.requests()[since:]


# What they do.


def test_a_user_is_created_read_changed_and_deleted(emulator: EmulatorClient, hook: Any) -> None:
    user_id = hook.create_user(
        uid=17,
        display_name="Ann",
        email="ann@example.com",
        properties={"plan": "free", "visits": 3, "since": datetime.date(2026, 1, 31)},
        schema={"visits": "int"},
    )
    assert hook.update_user(user_id, display_name="Anna", properties={"plan": "paid"}) == user_id

    user = hook.get_user(user_id, include_schema=True)
    assert (user.id, user.uid, user.display_name, user.email) == (user_id, "17", "Anna", "ann@example.com")
    assert user.properties == {"plan": "paid", "visits": 3, "since": "2026-01-31"}
    assert user.schema["properties"] == {"plan": "str", "visits": "int", "since": "date"}
    assert not user.is_being_deleted
    assert hook.delete_user(id=user_id) is None
    assert emulator.users() == []


def test_a_user_of_a_known_uid_is_changed(emulator: EmulatorClient, hook: Any, ann: str) -> None:
    assert hook.create_user(uid="ann", properties={"plan": "paid"}) == ann
    assert hook.get_user(ann).email == "ann@example.com"
    assert hook.get_user(ann).properties == {"plan": "paid"}


def test_a_user_without_uid_is_created_if_that_is_wanted_and_gets_one_later(
    emulator: EmulatorClient, hook: Any
) -> None:
    user_id = hook.create_user(display_name="Nobody", allow_anonymous=True)
    assert hook.get_user(user_id).uid is None
    assert hook.update_user(user_id, uid="ann") == user_id
    assert hook.get_user(user_id).uid == "ann"


def test_a_user_is_deleted_by_its_uid_and_may_be_there_for_a_while(
    emulator: EmulatorClient, hook: Any, ann: str
) -> None:
    emulator.configure(processing_seconds=10)
    hook.delete_user(uid="ann")
    assert hook.get_user(ann).is_being_deleted
    emulator.advance_clock(10)
    with pytest.raises(
        FullStoryNotFoundError, match=rf"user '{ann}'(?s:.*)No such user in this organization"
    ):
        hook.get_user(ann)


def test_users_are_listed_over_all_pages(emulator: EmulatorClient, hook: Any) -> None:
    emulator.configure(page_size=2, repeat_last_page_token=True)
    for number in range(5):
        hook.create_user(uid=f"u{number}", email="shared@example.com")
    hook.create_user(email="shared@example.com", allow_anonymous=True)
    hook.create_user(uid="other")

    found = [user.uid for user in hook.list_users(email="shared@example.com", is_identified=True)]

    assert sorted(found) == ["u0", "u1", "u2", "u3", "u4"]
    assert len(list(hook.list_users())) == 7
    assert [user.uid for user in hook.list_users(uid="other")] == ["other"]
    assert [user.uid for user in hook.list_users(is_identified=False)] == [None]


def test_users_are_listed_with_the_types_of_their_properties(
    emulator: EmulatorClient, hook: Any, ann: str
) -> None:
    [user] = hook.list_users(uid="ann", include_schema=True)
    assert user.schema == {"properties": {"plan": "str"}}
    [user] = hook.list_users(uid="ann")
    assert user.schema is None


def test_a_list_asks_for_a_page_when_it_is_needed(emulator: EmulatorClient, hook: Any) -> None:
    emulator.configure(page_size=1)
    for uid in "abc":
        hook.create_user(uid=uid)
    before = len(emulator.requests())
    users = hook.list_users()
    next(users)
    assert len(asked(emulator, before)) == 1


def test_an_event_is_created_with_all_its_fields(emulator: EmulatorClient, hook: Any) -> None:
    hook.create_event(
        "Order Completed",
        timestamp=datetime.datetime(2026, 1, 31, 10, 30),  # noqa: DTZ001 - It means UTC.
        user={"uid": "ann"},
        session={"use_most_recent": True},
        context={"browser": {"url": "https://example.com", "user_agent": None}},
        properties={"total": Decimal("9.90"), "items": {"count": 2}, "coupon": None},
        schema={"items.count": "int"},
        page_properties={"template": "cart", "step": 2},
        page_properties_schema={"step": "int"},
    )
    [line] = emulator.events()
    assert line["job_id"] is None
    assert line["event"] == {
        "name": "Order Completed",
        "timestamp": "2026-01-31T10:30:00Z",
        "user": {"uid": "ann"},
        "session": {"use_most_recent": True},
        "context": {"browser": {"url": "https://example.com"}},
        "properties": {"total": 9.9, "items": {"count": 2}},
        "schema": {"properties": {"items.count": "int"}},
        "page_properties": {"template": "cart", "step": 2},
        "page_properties_schema": {"properties": {"step": "int"}},
    }


def test_an_empty_schema_declares_nothing(emulator: EmulatorClient, hook: Any) -> None:
    hook.create_event("A", user={"uid": "ann"}, schema={}, page_properties={}, page_properties_schema={})
    [line] = emulator.events()
    assert line["event"] == {"name": "A", "user": {"uid": "ann"}}


def test_an_event_of_nobody_is_created_if_that_is_wanted(emulator: EmulatorClient, hook: Any) -> None:
    hook.create_event("A", timestamp="2026-01-31 10:30:00+02:00", allow_anonymous=True)
    [line] = emulator.events()
    assert line["event"] == {"name": "A", "timestamp": "2026-01-31T08:30:00Z"}


# What is sent again, and what is not.


@pytest.mark.parametrize("fault", [*LOST[:-1], LIMITED], ids=str)
@pytest.mark.parametrize("call", WITH_KEY)
def test_what_carries_a_key_is_repeated_under_it_and_done_once(
    emulator: EmulatorClient, hook: Any, call: str, fault: dict[str, Any]
) -> None:
    path, send = WITH_KEY[call]
    emulator.order_fault(method="POST", path=path, times=2, **fault)
    send(hook)
    assert len(asked(emulator)) == 3
    assert len({request["idempotency_key"] for request in asked(emulator)}) == 1
    assert len(emulator.users()) + len(emulator.events()) == 1


@pytest.mark.parametrize(
    ("keyed", "words"),
    [
        ({"idempotency_key": "k"}, "The same call with the same idempotency_key does it no second time"),
        ({}, "No idempotency_key was given, so the same call may do it a second time"),
    ],
)
@pytest.mark.parametrize("last", [{"reset": "after"}, {"status": 503}, LIMITED, {"status": 401}], ids=str)
def test_the_error_says_what_is_unknown_whichever_attempt_left_it_so(
    emulator: EmulatorClient,
    open_hook: Callable[..., Any],
    keyed: dict[str, str],
    words: str,
    last: dict[str, Any],
) -> None:
    emulator.order_fault(path="/v2/events", reset="after")
    emulator.order_fault(path="/v2/events", times=999, **last)
    with open_hook(retry_for=1) as hook, pytest.raises(FullStoryError, match=words) as caught:
        hook.create_event("A", user={"uid": "ann"}, **keyed)
    assert caught.value.is_ambiguous
    assert str(caught.value).count("FullStory may have done the work all the same.") == 1


def test_an_error_says_nothing_of_doubt_if_there_is_none(emulator: EmulatorClient, hook: Any) -> None:
    emulator.order_fault(path="/v2/events", status=401)
    with pytest.raises(FullStoryError) as caught:
        hook.create_event("A", user={"uid": "ann"})
    assert "may have done" not in str(caught.value)


@pytest.mark.parametrize("fault", [*LOST[:-1], LIMITED], ids=str)
@pytest.mark.parametrize("call", READS)
def test_what_reads_is_repeated(
    emulator: EmulatorClient, hook: Any, ann: str, call: str, fault: dict[str, Any]
) -> None:
    path, send = READS[call]
    before = len(emulator.requests())
    emulator.order_fault(method="GET", path=path, times=2, **fault)
    assert send(hook, ann)
    assert len(asked(emulator, before)) == 3


@pytest.mark.parametrize("fault", [*LOST, *OTHER_SUCCESS], ids=str)
@pytest.mark.parametrize("call", WITHOUT_KEY)
def test_what_has_no_key_is_not_repeated_once_it_may_have_arrived(
    emulator: EmulatorClient, hook: Any, ann: str, call: str, fault: dict[str, Any]
) -> None:
    path, send = WITHOUT_KEY[call]
    before = len(emulator.requests())
    emulator.order_fault(path=path, times=9, **fault)
    with pytest.raises(FullStoryError) as caught:
        send(hook, ann)
    assert caught.value.is_ambiguous
    assert [request["idempotency_key"] for request in asked(emulator, before)] == [None]
    assert "may have done the work all the same, so it is not asked again" in str(caught.value)


@pytest.mark.parametrize("call", WITHOUT_KEY)
def test_what_has_no_key_is_repeated_while_fullstory_refuses_it_for_the_rate_limit(
    emulator: EmulatorClient, hook: Any, ann: str, call: str
) -> None:
    path, send = WITHOUT_KEY[call]
    before = len(emulator.requests())
    emulator.order_fault(path=path, times=2, **LIMITED)
    send(hook, ann)
    assert [request["status"] for request in asked(emulator, before)] == [429, 429, 200]


@pytest.mark.parametrize("call", WITHOUT_KEY)
def test_an_answer_that_is_lost_after_the_rate_limit_ends_the_repetition(
    emulator: EmulatorClient, hook: Any, ann: str, call: str
) -> None:
    path, send = WITHOUT_KEY[call]
    before = len(emulator.requests())
    emulator.order_fault(path=path, **LIMITED)
    emulator.order_fault(path=path, reset="after", times=9)
    with pytest.raises(FullStoryError) as caught:
        send(hook, ann)
    assert caught.value.is_ambiguous
    assert [request["status"] for request in asked(emulator, before)] == [429, None]


@pytest.mark.parametrize("call", WITHOUT_KEY)
def test_what_has_no_key_is_repeated_if_it_surely_did_not_arrive(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    _, send = WITHOUT_KEY[call]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        connect(monkeypatch, f"http://127.0.0.1:{unused.getsockname()[1]}")
        with open_hook(retry_for=0.1) as hook, pytest.raises(FullStoryUnreachableError) as caught:
            send(hook, "1")
    assert not caught.value.is_ambiguous
    assert getattr(hook, "_hook", hook).retries


def test_each_call_has_a_key_of_its_own(emulator: EmulatorClient, hook: Any) -> None:
    for _ in range(2):
        hook.create_event("A", user={"uid": "ann"})
    assert len(emulator.events()) == 2
    first, second = (request["idempotency_key"] for request in asked(emulator))
    assert first != second


def test_a_task_that_gives_the_same_key_in_each_try_does_the_work_once(
    emulator: EmulatorClient, hook: Any
) -> None:
    for _ in range(2):
        hook.create_event("A", user={"uid": "ann"}, properties={"b": 1, "a": 2}, idempotency_key="run-1 A")
        hook.create_user(allow_anonymous=True, display_name="A", idempotency_key="run-1 A")
    assert (len(emulator.events()), len(emulator.users())) == (1, 1)
    assert [request["replayed"] for request in asked(emulator)] == [False, False, True, True]


def test_a_key_with_other_arguments_is_refused(emulator: EmulatorClient, hook: Any) -> None:
    hook.create_event("A", user={"uid": "ann"}, idempotency_key="run-1")
    with pytest.raises(FullStoryBadRequestError, match="create an event"):
        hook.create_event("B", user={"uid": "ann"}, idempotency_key="run-1")


# What is refused.


@pytest.mark.parametrize(
    ("send", "words"),
    [
        (lambda hook: hook.create_user(email="a"), "neither uid nor id is given.*allow_anonymous=True"),
        (lambda hook: hook.create_user(uid="u" * 257), "uid is longer than 256 characters"),
        (lambda hook: hook.create_user(uid="u", email="e" * 129), "email is longer than 128 characters"),
        (lambda hook: hook.create_user(uid="u", properties={"a": "x" * 8193}), "larger than 8,192 bytes"),
        (lambda hook: hook.create_user(uid="u", properties={"a b": 1}), "property names start with a letter"),
        (lambda hook: hook.create_user(uid="u", properties=["a"]), "properties must be an object, not list"),
        (lambda hook: hook.create_user(uid="u", properties={"a": 1}, schema={"a": "number"}), "types are"),
        (
            lambda hook: hook.create_user(uid="u", properties={"a": "x"}, schema={"a": "int"}),
            "declared 'int'",
        ),
        (lambda hook: hook.create_user(uid="u", schema="int"), 'the form {"quantity": "int"}, and is str'),
        (lambda hook: hook.create_user(uid="u", schema={5: "int"}), "schema declares 5, which is not text"),
        (lambda hook: hook.create_user(uid="u", idempotency_key=""), "idempotency_key must be"),
        (lambda hook: hook.create_user(uid="u", idempotency_key="é"), "idempotency_key must be"),
        (lambda hook: hook.create_user(uid="u", idempotency_key="a\n"), "idempotency_key must be"),
        (lambda hook: hook.create_user(uid="u", idempotency_key=" a"), "idempotency_key must be"),
        (lambda hook: hook.create_user(uid="u", idempotency_key=5), "idempotency_key must be"),
        (lambda hook: hook.update_user("1"), "nothing is given that could change"),
        (lambda hook: hook.update_user("1", properties={"a": "x" * 8193}), "larger than 8,192 bytes"),
        (lambda hook: hook.update_user("", email="a"), "id is empty"),
        (lambda hook: hook.get_user(None), "id must be text"),
        (lambda hook: hook.get_user("1 "), "id has white space"),
        *(
            (send, "leads to another endpoint")
            for send in (
                lambda hook: hook.get_user(".."),
                lambda hook: hook.update_user(".", email="a"),
                lambda hook: hook.update_user("batch", email="a"),
                lambda hook: hook.update_user("stream", uid="u"),
                lambda hook: hook.delete_user(id="."),
            )
        ),
        (lambda hook: hook.delete_user(), "either id or uid"),
        (lambda hook: hook.delete_user(id="1", uid="u"), "either id or uid"),
        (lambda hook: hook.delete_user(uid=""), "uid is empty"),
        (lambda hook: list(hook.list_users(email="")), "email is empty"),
        (lambda hook: list(hook.list_users(is_identified="False")), "must be True or False, not str"),
        (
            lambda hook: hook.create_event("A", user={"uid": "u"}, page_properties_schema={"a": "number"}),
            "page_properties_schema declares 'a' as 'number'; the types are",
        ),
        (
            lambda hook: hook.create_event("A", user={"uid": "u"}, page_properties_schema=["a"]),
            'page_properties_schema must have the form {"quantity": "int"}, and is list',
        ),
        (lambda hook: hook.create_event("A"), "neither a user nor a session.*allow_anonymous=True"),
        (lambda hook: hook.create_event("", user={"uid": "u"}), "name is empty"),
        (lambda hook: hook.create_event("A", user={"uid": "u", "id": "1"}), "both given"),
        (lambda hook: hook.create_event("A", user={"name": "u"}), "no field 'user.name'"),
        (lambda hook: hook.create_event("A", user={"uid": "u"}, session={"id": "1:2"}), "leave out the user"),
        (lambda hook: hook.create_event("A", user={"uid": "u"}, timestamp="soon"), "not ISO 8601"),
        (
            lambda hook: hook.create_event("A", user={"uid": "u"}, idempotency_key=""),
            "idempotency_key must be",
        ),
    ],
)
def test_what_fullstory_would_not_take_is_refused_before_anything_is_sent(
    emulator: EmulatorClient, hook: Any, send: Callable[[Any], Any], words: str
) -> None:
    with pytest.raises(FullStoryInputError, match=words):
        send(hook)
    assert asked(emulator) == []


def test_properties_that_fullstory_would_leave_out_are_left_out_with_a_warning_if_that_is_wanted(
    emulator: EmulatorClient, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    properties = {"large": "x" * 8193, "a b": 1, "plan": "paid"}
    user_id = hook.create_user(uid="u", properties=properties, drop_invalid_properties=True)
    hook.update_user(user_id, properties=properties | {"plan": "free"}, drop_invalid_properties=True)
    [line] = emulator.users()
    assert line["user"]["properties"] == {"plan": "free"}
    assert caplog.text.count("'large' is larger than 8,192 bytes") == 2


@pytest.mark.parametrize("call", ["get_user", "list_users", "delete_user", "delete_user by uid"])
def test_a_key_below_architect_neither_reads_nor_deletes_users(
    emulator: EmulatorClient, open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    _, send = (READS | WITHOUT_KEY)[call]
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    with open_hook() as hook:
        user_id = hook.create_user(uid="ann")
        hook.update_user(user_id, email="a")
        hook.create_event("A", user={"id": user_id})
        with pytest.raises(FullStoryPermissionError, match="takes a key of level Architect or above"):
            send(hook, user_id)


@pytest.mark.parametrize(
    "send",
    [
        lambda hook: hook.get_user("404"),
        lambda hook: hook.update_user("404", email="a"),
        lambda hook: hook.delete_user(id="404"),
        lambda hook: hook.delete_user(uid="404"),
    ],
)
def test_a_user_that_does_not_exist_is_not_found(
    emulator: EmulatorClient, hook: Any, send: Callable[[Any], Any]
) -> None:
    with pytest.raises(FullStoryNotFoundError, match="No such user in this organization"):
        send(hook)
    assert len(asked(emulator)) == 1
