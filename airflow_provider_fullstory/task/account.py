"""The account that an API key leads to: its organization, its level, and its remaining quota."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_fullstory.batch_import.sending.quota import RemainingQuota
from airflow_provider_fullstory.exceptions import FullStoryAuthenticationError, FullStoryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

log = logging.getLogger(__name__)
T = TypeVar("T")


class Account:
    """
    Check the account before anything is sent.

    :param hook: Calls FullStory.
    :param ledger: Knows which organization has the batches of earlier tries.
    """

    def __init__(self, hook: FullStoryHook, ledger: Ledger) -> None:
        self._hook = hook
        self._ledger = ledger

    def check(self, *, needs_results: bool) -> str:
        """
        Return a description of the account, and check that earlier tries sent to the same organization.

        :param needs_results: Whether rejected records are to be read, which some API keys may not do.
        :raises FullStoryInputError: If earlier tries sent batches to another organization.
        """
        # Batches that another organization has must not count as sent, so the answer is then required.
        base_url = self._hook.settings.base_url
        is_required = self._ledger.organization is not None
        try:
            account = (
                self._hook.get_account()
                if is_required
                else _read_twice(self._hook.without_retries().get_account)
            )
        except FullStoryError as error:
            if is_required or isinstance(error, FullStoryAuthenticationError):
                error.add("Nothing was sent in this try.")
                raise
            log.warning("FullStory does not say whose API key this is. %s", error)
            return f"{base_url}, an organization that is not known"
        self._ledger.check_organization(account.org_id)
        if needs_results and not account.reads_results:
            log.warning(
                "rejected_uri will lack the records that FullStory rejects: a key of level %s cannot read "
                "them.",
                account.level,
            )
            log.warning("Use a key of level Architect or Admin to have all refused records there.")
        return f"{base_url}, organization {account.org_id} (API key of level {account.level})"

    def remaining_quota(self) -> RemainingQuota | None:
        """Return the remaining quota of server events, None if FullStory does not state it."""
        try:
            quota = _read_twice(self._hook.without_retries().get_quotas).server_event_quota
        except FullStoryAuthenticationError:
            raise
        except FullStoryError as error:
            log.warning("The import is not checked against the quota of server events. %s", error)
            return None
        if quota is None:
            log.warning("FullStory states no quota of server events: the import is not checked against it.")
            return None
        remaining_quota = RemainingQuota(quota, self._ledger.has)
        log.info("Quota: %s.", remaining_quota)
        return remaining_quota


def _read_twice(read: Callable[[], T]) -> T:
    """Return the result of a call that may fail in a passing way, and must not delay an import for long."""
    try:
        return read()
    except FullStoryError as error:
        if not error.is_transient:
            raise
    return read()
