"""The page at ``/``, for a person who opens the emulator in a browser: what it has, and what it was told."""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.emulator.clock import timestamp
from airflow_provider_fullstory.emulator.store.users import UserFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_fullstory.emulator.organization.organization import Organization
    from airflow_provider_fullstory.emulator.store.entries import Job

#: How many rows each table has, the latest first.
MOST_ROWS = 20

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<meta name="color-scheme" content="light dark">
<title>FullStory emulator</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; }}
th, td {{ border-bottom: 1px solid #8884; padding: .25rem .75rem .25rem 0; }}
code {{ overflow-wrap: anywhere; }}
.refused {{ color: #c22; font-weight: 600; }}
</style>
</head>
<body>
<h1>FullStory emulator</h1>
{body}
</body>
</html>
"""


def page(organization: Organization) -> str:
    """
    Return the page as HTML; it loads itself anew every five seconds.

    :param organization: What the emulator has.
    """
    jobs = [job for job in organization.jobs.all() if job.id]
    latest = list(reversed(jobs))[:MOST_ROWS]
    requests = list(organization.requests)
    sections = [
        _overview(organization, jobs),
        _section(
            "Jobs",
            ("Created", "Job", "Records of", "Status", "Records", "Imported", "Rejected"),
            [_job_row(organization, job) for job in latest],
        ),
        _section("Records of the latest jobs", ("Job", "Record"), _records(organization, latest)),
        _section("Users", ("User",), [(_json(user.text),) for user in organization.users.latest(MOST_ROWS)]),
        _section(
            "Annotations",
            ("Annotation",),
            [(_json(text),) for text in organization.annotations.store.latest(MOST_ROWS)],
        ),
        _section(
            "Faults that are ordered",
            ("Fault",),
            [(_json(msgspec.json.encode(fault)),) for fault in organization.faults.ordered()],
        ),
        _section(
            "Rejections that are ordered",
            ("Rejection",),
            [(_json(msgspec.json.encode(rejection)),) for rejection in organization.rejections.ordered()],
        ),
        _section(
            "Latest requests",
            ("Time", "Request", "Answer", "Records"),
            [
                (
                    _text(request.time),
                    _code(f"{request.method} {request.path}"),
                    _text(request.status),
                    _number(request.records),
                )
                for request in reversed(requests[-MOST_ROWS:])
            ],
        ),
    ]
    return _PAGE.format(body="\n".join(sections))


def _overview(organization: Organization, jobs: Sequence[Job]) -> str:
    unfinished_batches, unfinished_records = organization.jobs.unfinished(organization.clock.now())
    facts = {
        "Organization": organization.settings.organization,
        "Its time": timestamp(organization.clock.now()),
        "Jobs": f"{len(jobs):,}",
        "Users": f"{organization.users.count(UserFilter()):,}",
        "Unfinished": f"{unfinished_batches:,} batches with {unfinished_records:,} records",
    }
    quotas = msgspec.json.decode(organization.results.quotas().body)
    for name, quota in quotas.items():
        used, limit = int(quota["usage"]), int(quota["limit"])
        facts[name.replace("_", " ").capitalize()] = f"{used:,} of {limit:,} until {quota['period_end']}"
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(fact)}</td></tr>" for name, fact in facts.items())
    return f"<table>{rows}</table>"


def _job_row(organization: Organization, job: Job) -> tuple[str, ...]:
    rejected = _number(job.errors)
    return (
        _text(timestamp(job.created)),
        _code(job.id),
        _text(job.resource),
        _text(organization.results.state(job)),
        _number(job.records),
        _number(job.imports),
        f'<span class="refused">{rejected}</span>' if job.errors else rejected,
    )


def _records(organization: Organization, jobs: Iterable[Job]) -> list[tuple[str, ...]]:
    records = ((job, record) for job in jobs for record in organization.jobs.imported(job))
    return [(_code(job.id), _json(record.text)) for job, record in itertools.islice(records, MOST_ROWS)]


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return f"<h2>{_text(title)}</h2><p>None.</p>"
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{_text(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _text(value: object) -> str:
    return "" if value is None else html.escape(str(value))


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _code(text: object) -> str:
    return f"<code>{_text(text)}</code>"


def _json(value: msgspec.Raw | bytes) -> str:
    return _code(bytes(value).decode())
