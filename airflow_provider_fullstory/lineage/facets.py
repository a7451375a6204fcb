"""The datasets that an import writes to, and what became of its records: counts, never a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from airflow.providers.common.compat.openlineage.facet import (
    ColumnLineageDatasetFacet,
    Fields,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
    SchemaDatasetFacet,
    SchemaDatasetFacetFields,
)

from airflow_provider_fullstory.assets.fullstory import names_in_openlineage
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.lineage.files import file_names
from airflow_provider_fullstory.task.outlets import destination

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.openlineage.facet import DatasetFacet, InputField

    from airflow_provider_fullstory.batch_import.batching.submissions import Submission
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

#: The name of the run facet.
RUN_FACET: Final = "fullstory_import"
#: How many jobs it names: an event must stay small.
_MOST_JOBS: Final = 100


@attrs.define
class FullStoryImportRunFacet(RunFacet):
    """
    What became of the records of an import, as far as the task knew when it ended.

    A task that failed may have sent records, which FullStory has or will import. None stands for a number
    that is not known.

    :param resource: ``events`` or ``users``.
    :param sent: Records in batches that FullStory has accepted.
    :param batches: These batches.
    :param jobs: The ids of their jobs, the first hundred.
    :param records: Records that the source gave.
    :param imported: Records that are in FullStory.
    :param invalid: Records that were never sent, since they break FullStory's rules.
    :param rejected: Records that FullStory rejected.
    :param skipped: Records that were not sent, since they were imported before.
    """

    resource: str
    sent: int | None
    batches: int
    jobs: list[str]
    records: int | None = None
    imported: int | None = None
    invalid: int | None = None
    rejected: int | None = None
    skipped: int | None = None


def facet_of_report(report: ImportReport) -> FullStoryImportRunFacet:
    """Return the run facet of an import whose records were all sent."""
    return FullStoryImportRunFacet(
        resource=report.resource,
        sent=None if report.records is None else report.records - report.invalid - report.skipped,
        batches=report.batches,
        jobs=report.job_ids[:_MOST_JOBS],
        records=report.records,
        imported=report.imported,
        invalid=report.invalid,
        rejected=report.rejected,
        skipped=report.skipped,
    )


def facet_of_submissions(resource: str, submissions: Sequence[Submission]) -> FullStoryImportRunFacet:
    """Return the run facet of an import that ended while it sent its records."""
    return FullStoryImportRunFacet(
        resource=resource,
        sent=sum(submission.records for submission in submissions),
        batches=len(submissions),
        jobs=[submission.job_id for submission in submissions[:_MOST_JOBS]],
    )


def outputs_of(
    operator: Any,
    resource: str,
    report: ImportReport | None,
    facets: Mapping[str, DatasetFacet] | None = None,
) -> list[OutputDataset]:
    """
    Return what an import writes to: FullStory, and the file of refused records if there is one.

    :param operator: The operator or the sensor: an outlet of it, or else its connection, says what is
        written to.
    :param report: The report of the import, None as long as there is none.
    :param facets: The facets of what FullStory has.
    :raises FullStoryError: If the connection cannot be used.
    """
    namespace, name = names_in_openlineage(
        destination(operator.outlets, resource, FullStoryHook(operator.fullstory_conn_id)).uri
    )
    imported = None if report is None else report.imported
    outputs = [_output(namespace, name, imported, facets)]
    if report is not None and report.rejected_uri is not None:
        refused = None if report.rejected is None else report.refused
        outputs.append(_output(*file_names(report.rejected_uri), refused))
    return outputs


def _output(
    namespace: str, name: str, rows: int | None, facets: Mapping[str, DatasetFacet] | None = None
) -> OutputDataset:
    statistics: dict[str, Any] = (
        {} if rows is None else {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows)}
    )
    return OutputDataset(namespace=namespace, name=name, facets=dict(facets or {}), outputFacets=statistics)


def dataset_facets(
    origins: Mapping[str, Sequence[InputField]], fields: Sequence[str], types: Mapping[str, str]
) -> dict[str, DatasetFacet]:
    """
    Return the facets of what FullStory has after an import.

    :param origins: Field of FullStory -> the columns that its values come from.
    :param fields: All fields that the import fills; empty if they are not known.
    :param types: Property -> type, where the user declared it.
    """
    facets: dict[str, DatasetFacet] = {}
    if origins:
        lineage = {field: Fields(inputFields=list(inputs)) for field, inputs in origins.items()}
        facets["columnLineage"] = ColumnLineageDatasetFacet(fields=lineage)
    if fields:
        facets["schema"] = SchemaDatasetFacet(
            fields=[
                SchemaDatasetFacetFields(name=field, type=types.get(field.removeprefix("properties.")))
                for field in fields
            ]
        )
    return facets
