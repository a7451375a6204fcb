"""What the hook of triggers does with one user or event at a time."""

from __future__ import annotations

from abc import abstractmethod
from asyncio import to_thread
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_fullstory.api.single_records import users_page
from airflow_provider_fullstory.hooks import single_calls
from airflow_provider_fullstory.hooks.pages import async_pages

if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncIterator, Mapping

    from airflow_provider_fullstory.api.protocol import Call
    from airflow_provider_fullstory.api.single_records import UserDetails

T = TypeVar("T")


class AsyncSingleRecords:
    """
    Create, read, change and delete users, and create events, without blocking an event loop.

    See :class:`~airflow_provider_fullstory.hooks.single_records.SingleRecords` for each method. Calls are put
    together in a thread, since the modules that convert values take long to import.
    """

    async def create_user(
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
        """Create a user, or change the one with that uid, and return FullStory's id of the user."""
        call = await to_thread(
            single_calls.create_user,
            uid=uid,
            display_name=display_name,
            email=email,
            properties=properties,
            schema=schema,
            allow_anonymous=allow_anonymous,
            drop_invalid_properties=drop_invalid_properties,
            idempotency_key=idempotency_key,
        )
        return await self._call(call)

    async def get_user(self, id: str, *, include_schema: bool = False) -> UserDetails:  # noqa: A002
        """Return a user."""
        return await self._call(await to_thread(single_calls.get_user, id, include_schema=include_schema))

    async def list_users(
        self,
        *,
        uid: str | None = None,
        email: str | None = None,
        display_name: str | None = None,
        is_identified: bool | None = None,
        include_schema: bool = False,
    ) -> AsyncIterator[UserDetails]:
        """Yield the users that fit all that is given."""
        wanted = await to_thread(
            single_calls.wanted_users,
            uid=uid,
            email=email,
            display_name=display_name,
            is_identified=is_identified,
        )
        read = async_pages(lambda token: self._call(users_page(wanted, token, include_schema=include_schema)))
        before: set[str] = set()
        async for page in read:
            for user in page.results:
                if user.id not in before:
                    yield user
            before = {user.id for user in page.results}

    async def update_user(
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
        """Change a user, and return FullStory's id of the user."""
        call = await to_thread(
            single_calls.update_user,
            id,
            uid=uid,
            display_name=display_name,
            email=email,
            properties=properties,
            schema=schema,
            drop_invalid_properties=drop_invalid_properties,
        )
        return await self._call(call)

    async def delete_user(self, *, id: str | None = None, uid: str | None = None) -> None:  # noqa: A002
        """Delete a user and all that FullStory knows of it."""
        await self._call(await to_thread(single_calls.delete_user, id, uid))

    async def create_event(
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
        """Create an event."""
        call = await to_thread(
            single_calls.create_event,
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
        await self._call(call)

    @abstractmethod
    async def _call(self, call: Call[T]) -> T:
        """Return the result of a call."""
