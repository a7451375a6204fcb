"""
The wire types of events: the only list of the fields that an event can have.

All else is read from here: which columns can be mapped, to which types their values are converted, and how an
event is previewed and written down. The order of the fields is the order of the bytes in a body. Source:
developer.fullstory.com/server/events (create events batch import).
"""

from __future__ import annotations

import datetime

from msgspec import UNSET, UnsetType

from airflow_provider_fullstory.api.request_parts import Properties, RequestPart


class User(RequestPart):
    """Name the user of an event, by the application's id or by FullStory's own."""

    uid: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class Session(RequestPart):
    """Name the session of an event."""

    id: str | UnsetType = UNSET
    use_most_recent: bool | UnsetType = UNSET
    uid: str | UnsetType = UNSET


class Browser(RequestPart):
    """Describe the page."""

    url: str | UnsetType = UNSET
    user_agent: str | UnsetType = UNSET
    initial_referrer: str | UnsetType = UNSET


class Mobile(RequestPart):
    """Describe the mobile app."""

    app_id: str | UnsetType = UNSET
    app_version: str | UnsetType = UNSET
    app_name: str | UnsetType = UNSET
    build_variant: str | UnsetType = UNSET


class Device(RequestPart):
    """Describe the device; sizes in pixels."""

    manufacturer: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    screen_width: int | UnsetType = UNSET
    screen_height: int | UnsetType = UNSET
    viewport_width: int | UnsetType = UNSET
    viewport_height: int | UnsetType = UNSET


class Location(RequestPart):
    """Describe the place: country as ISO 3166-1 alpha-2, region as ISO 3166-2."""

    country: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    latitude: float | UnsetType = UNSET
    longitude: float | UnsetType = UNSET
    ip_address: str | UnsetType = UNSET


class Context(RequestPart):
    """Describe where an event took place."""

    browser: Browser | UnsetType = UNSET
    mobile: Mobile | UnsetType = UNSET
    device: Device | UnsetType = UNSET
    location: Location | UnsetType = UNSET


class Event(RequestPart):
    """
    One record of an events import.

    ``schema`` and ``page_properties_schema`` declare types for properties whose JSON form does not show them:
    FullStory reads every JSON number as ``real`` and every string as ``str``
    (developer.fullstory.com/server/custom-properties).
    """

    name: str | UnsetType = UNSET
    timestamp: datetime.datetime | UnsetType = UNSET
    user: User | UnsetType = UNSET
    session: Session | UnsetType = UNSET
    context: Context | UnsetType = UNSET
    properties: Properties | UnsetType = UNSET
    schema: Properties | UnsetType = UNSET
    page_properties: Properties | UnsetType = UNSET
    page_properties_schema: Properties | UnsetType = UNSET


class Shared(RequestPart):
    """Hold what all events of a request have in common."""

    user: User | UnsetType = UNSET
    session: Session | UnsetType = UNSET
    context: Context | UnsetType = UNSET
    page_properties: Properties | UnsetType = UNSET
    page_properties_schema: Properties | UnsetType = UNSET
