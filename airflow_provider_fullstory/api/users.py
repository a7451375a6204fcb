"""
The wire type of users: the only list of the fields that a user can have.

All else is read from here, as it is for events. Source: developer.fullstory.com/server/users (create batch
user import job).
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from airflow_provider_fullstory.api.request_parts import Properties, RequestPart


class User(RequestPart):
    """
    One record of a users import: a user who is made, or changed where FullStory knows the ``uid`` or ``id``.

    What is not sent stays as it is in FullStory. ``schema`` declares types for properties, as in events.
    """

    id: str | UnsetType = UNSET
    uid: str | UnsetType = UNSET
    display_name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    properties: Properties | UnsetType = UNSET
    schema: Properties | UnsetType = UNSET
