"""What the hook of tasks does with one user or event at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_fullstory.api.single_records import users_page
from airflow_provider_fullstory.hooks import single_calls
from airflow_provider_fullstory.hooks.pages import pages

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_fullstory.api.jobs import Page
    from airflow_provider_fullstory.api.protocol import Call
    from airflow_provider_fullstory.api.single_records import UserDetails

T = TypeVar("T")


class SingleRecords:
    """
    Create, read, change and delete users, and create events, one by one.

    For more than a few of them an import takes fewer requests, and accounts for each record.

    Arguments are converted and checked as imported records are. What reads, and what carries an idempotency
    key, is sent again as ``retry_for`` says. FullStory takes no key for an update or a deletion, so these are
    sent again only if they surely did not arrive, or were answered with 429; else ``is_ambiguous`` of the
    error is True.
    """

    def create_user(
        self,
        *,
        uid: str | None = None,
        display_name: str | None = None,
        email: str | None = None,
        properties: Mapping[str, Any] | None = None,
        schema: Mapping[str, str] | None = None,
        allow_anonymous: bool = False,
        drop_invalid_properties: bool = False,
        idempotency_key: str | None = None,
    ) -> str:
        """
        Create a user, or change the one with that uid, and return FullStory's id of the user.

        What is not given stays as it is in FullStory.

        :param uid: The application's id of the user.
        :param display_name: Name of the user.
        :param email: Email address of the user.
        :param properties: Property -> value, in Python's types. Datetimes without an offset are in UTC.
        :param schema: Property -> type, if its value does not show it: ``{"amount": "real"}``.
        :param allow_anonymous: Whether a user without uid is created, a new one each time.
        :param drop_invalid_properties: Whether a property that FullStory would leave out (beyond 8,192 bytes,
            beyond 500 properties, or of a name that it does not take) is left out here with a warning, rather
            than refused.
        :param idempotency_key: For 24 hours FullStory does the work of a key once, and refuses the key with
            other arguments. By default each call has a new one, which covers the requests of that call. A
            task that may be retried gives one of its own, such as one made of its ``run_id``.
        :raises FullStoryInputError: Before anything is sent, if FullStory would not take the user.
        """
        return self._call(
            single_calls.create_user(
                uid=uid,
                display_name=display_name,
                email=email,
                properties=properties,
                schema=schema,
                allow_anonymous=allow_anonymous,
                drop_invalid_properties=drop_invalid_properties,
                idempotency_key=idempotency_key,
            )
        )

    def get_user(self, id: str, *, include_schema: bool = False) -> UserDetails:  # noqa: A002
        """
        Return a user. It takes an Architect or Admin key.

        :param id: FullStory's id of the user, as ``create_user`` returns it; ``list_users`` finds others.
        :param include_schema: Whether the types of the properties are read too.
        :raises FullStoryNotFoundError: If FullStory has no such user.
        """
        return self._call(single_calls.get_user(id, include_schema=include_schema))

    def list_users(
        self,
        *,
        uid: str | None = None,
        email: str | None = None,
        display_name: str | None = None,
        is_identified: bool | None = None,
        include_schema: bool = False,
    ) -> Iterator[UserDetails]:
        """
        Yield the users that fit all that is given, all users by default. It takes an Architect or Admin key.

        They are read page by page, as the caller goes on. A user that others push to the next page meanwhile
        comes once.

        :param uid: The application's id.
        :param email: The email address.
        :param display_name: The name.
        :param is_identified: Whether they have a uid.
        :param include_schema: Whether the types of the properties are read too.
        """
        wanted = single_calls.wanted_users(
            uid=uid, email=email, display_name=display_name, is_identified=is_identified
        )
        return _each_once(
            pages(lambda token: self._call(users_page(wanted, token, include_schema=include_schema)))
        )

    def update_user(
        self,
        id: str,  # noqa: A002
        *,
        uid: str | None = None,
        display_name: str | None = None,
        email: str | None = None,
        properties: Mapping[str, Any] | None = None,
        schema: Mapping[str, str] | None = None,
        drop_invalid_properties: bool = False,
    ) -> str:
        """
        Change a user, and return FullStory's id of the user, which may be another one if it got a uid.

        FullStory takes no idempotency key for it, so a request that may have arrived is not sent again.
        ``create_user`` changes a user of a known uid with such a key.

        :param id: FullStory's id of the user.
        :param uid: The application's id, for a user that has none; it cannot be changed.
        :param display_name: See :meth:`create_user`, as for all further parameters.
        :raises FullStoryNotFoundError: If FullStory has no such user.
        """
        return self._call(
            single_calls.update_user(
                id,
                uid=uid,
                display_name=display_name,
                email=email,
                properties=properties,
                schema=schema,
                drop_invalid_properties=drop_invalid_properties,
            )
        )

    def delete_user(self, *, id: str | None = None, uid: str | None = None) -> None:  # noqa: A002
        """
        Delete a user and all that FullStory knows of it. It takes an Architect or Admin key.

        FullStory takes its time: until then it may answer with the user, and ``is_being_deleted``. A deletion
        carries no idempotency key, so one that may have arrived is not sent again, although a second one
        would do no harm. After an error ``list_users`` tells whether the user is still there.

        :param id: FullStory's id of the user.
        :param uid: The application's id; one of the two is required.
        :raises FullStoryNotFoundError: If FullStory has no such user.
        """
        self._call(single_calls.delete_user(id, uid))

    def create_event(
        self,
        name: str,
        *,
        timestamp: datetime.datetime | str | None = None,
        user: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        schema: Mapping[str, str] | None = None,
        page_properties: Mapping[str, Any] | None = None,
        page_properties_schema: Mapping[str, str] | None = None,
        allow_anonymous: bool = False,
        idempotency_key: str | None = None,
    ) -> None:
        """
        Create an event.

        :param name: Name of the event.
        :param timestamp: When it happened: a datetime, or text in ISO 8601; without an offset it is in UTC.
            By default it is the time at which FullStory takes the event.
        :param user: ``{"uid": "u1"}``, or ``{"id": ...}`` with FullStory's id.
        :param session: ``{"id": ...}`` or ``{"uid": ...}`` instead of a user, or
            ``{"use_most_recent": True}`` beside one.
        :param context: Browser, mobile, device and location, as FullStory's API has them.
        :param properties: Property -> value, in Python's types.
        :param schema: Property -> type, if its value does not show it: ``{"amount": "real"}``.
        :param page_properties: Properties of the page.
        :param page_properties_schema: Their types.
        :param allow_anonymous: Whether the event may lack a user and a session: FullStory then creates an
            anonymous user.
        :param idempotency_key: See :meth:`create_user`. Beside a key of its own, a task must not give another
            ``timestamp`` in each try.
        :raises FullStoryInputError: Before anything is sent, if FullStory would not take the event.
        """
        self._call(
            single_calls.create_event(
                name,
                timestamp=timestamp,
                user=user,
                session=session,
                context=context,
                properties=properties,
                schema=schema,
                page_properties=page_properties,
                page_properties_schema=page_properties_schema,
                allow_anonymous=allow_anonymous,
                idempotency_key=idempotency_key,
            )
        )

    @abstractmethod
    def _call(self, call: Call[T]) -> T:
        """Return the result of a call."""


def _each_once(read: Iterable[Page[UserDetails]]) -> Iterator[UserDetails]:
    # There may be millions of users, so only those of the page before are remembered.
    before: set[str] = set()
    for page in read:
        yield from (user for user in page.results if user.id not in before)
        before = {user.id for user in page.results}
