"""Users one by one: read, listed, updated and deleted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from airflow_provider_fullstory.emulator.answers import Answer, invalid, json_answer, not_found
from airflow_provider_fullstory.emulator.organization.descriptions import describe_user
from airflow_provider_fullstory.emulator.organization.pages import page, place_of
from airflow_provider_fullstory.emulator.organization.users import SentUser, upserted_user
from airflow_provider_fullstory.emulator.rules.bodies import read_one
from airflow_provider_fullstory.emulator.rules.properties import RecordError
from airflow_provider_fullstory.emulator.rules.records import NewUser, check_user

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.clock import Clock
    from airflow_provider_fullstory.emulator.settings import Settings
    from airflow_provider_fullstory.emulator.store.entries import StoredUser
    from airflow_provider_fullstory.emulator.store.users import UserFilter, UserStore

_BEFORE_ALL = ""


@dataclasses.dataclass
class SingleUsers:
    """Answer questions about users, and change them."""

    users: UserStore
    clock: Clock
    settings: Settings

    def get(self, user_id: str, *, include_schema: bool) -> Answer:
        """Return a user."""
        return json_answer(self._described(self._find(user_id), include_schema=include_schema))

    def list(self, wanted: UserFilter, page_token: str, *, include_schema: bool) -> Answer:
        """Return a page of users, the first one for an empty token."""
        users = self.users.page(wanted, place_of(page_token, str, _BEFORE_ALL), self.settings.page_size + 1)
        results = [(user.id, self._described(user, include_schema=include_schema)) for user in users]
        value = page(results, self.users.count(wanted), page_token, self.settings, _BEFORE_ALL)
        return json_answer(value | {"app_url": f"{self._app_url}/0"})

    def update(self, user_id: str, body: bytes) -> Answer:
        """Update a user. Call it within a transaction."""
        batch = read_one(body, NewUser, check_user)
        sent = msgspec.json.decode(batch.texts[0], type=SentUser)
        sent.id = self._find(user_id).id
        try:
            user = upserted_user(self.users, sent, sent.id)
        except RecordError as error:
            raise (
                not_found() if error.code == "user_not_found" else invalid(error.message, error.code)
            ) from error
        self.users.save(user)
        return dataclasses.replace(json_answer({"id": user.id}), records=1)

    def delete(self, user_id: str) -> Answer:
        """Delete a user. Call it within a transaction."""
        return self._delete(self._find(user_id))

    def delete_by_uid(self, uid: str) -> Answer:
        """Delete a user by the customer's identifier. Call it within a transaction."""
        if not uid:
            raise invalid("uid is required", "required_field")
        user = self.users.find_by_uid(uid)
        if user is None:
            raise not_found()
        return self._delete(user)

    def _delete(self, user: StoredUser) -> Answer:
        # Documented: a user may be answered for a while with is_being_deleted. Unknown: for how long. Here it
        # takes as long as a batch, so that by default the user is gone at once. Events of the user stay.
        if not user.is_being_deleted:
            gone = self.clock.now() + self.settings.processing_seconds
            self.users.save(dataclasses.replace(user, gone=gone))
        return json_answer({})

    def _find(self, user_id: str) -> StoredUser:
        user = self.users.find(user_id)
        if user is None:
            raise not_found()
        return user

    def _described(self, user: StoredUser, *, include_schema: bool) -> dict[str, object]:
        known = msgspec.json.decode(user.text, type=SentUser)
        return {
            **describe_user(user.id, known, include_schema=include_schema),
            "is_being_deleted": user.is_being_deleted,
            "app_url": f"{self._app_url}/user/{user.id}",
        }

    @property
    def _app_url(self) -> str:
        organization = quote(self.settings.organization, safe="")
        return f"https://app.fullstory.com/ui/{organization}/segments/everyone/people"
