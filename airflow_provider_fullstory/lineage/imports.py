"""What operators and sensors tell OpenLineage, which asks them when their task starts and ends."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.openlineage.facet import Dataset, InputField
from airflow.providers.openlineage.extractors import OperatorLineage

from airflow_provider_fullstory.lineage.facets import (
    RUN_FACET,
    dataset_facets,
    facet_of_report,
    facet_of_submissions,
    outputs_of,
)
from airflow_provider_fullstory.lineage.files import file_names
from airflow_provider_fullstory.lineage.queries import lineage_of_query
from airflow_provider_fullstory.records.mapping import targets_of_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.openlineage.facet import RunFacet
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.records.options import MappingOptions
    from airflow_provider_fullstory.task.import_run import ImportRun
    from airflow_provider_fullstory.task.source import RecordSource


def lineage_of_import(
    operator: BaseOperator, source: RecordSource, run: ImportRun | None
) -> OperatorLineage[Any, Any]:
    """
    Return from where an import reads, where it writes to, and what is known of its records.

    :param source: The source of the records.
    :param run: The run of the import, None before it starts.
    :raises FullStoryError: If a connection cannot be used.
    """
    arguments = source.arguments
    resource = arguments.resource.value
    job_facets: dict[str, Any] = {}
    run_facets: dict[str, RunFacet] = {} if run is None else {RUN_FACET: _run_facet(resource, run)}
    if arguments.sql is None:
        inputs = _files(source.locations)
        columns = _mapped_keys(inputs, source.options)
    else:
        query = lineage_of_query(
            source.database(), arguments.sql, has_parameters=arguments.parameters is not None
        )
        inputs, columns = query.tables, query.columns
        job_facets, run_facets = query.job_facets, run_facets | query.run_facets
    facets = dataset_facets(
        _origins(columns, source.options),
        [] if run is None else list(run.targets.values()),
        source.options.schema,
    )
    return OperatorLineage(
        inputs=inputs,
        outputs=outputs_of(operator, resource, None if run is None else run.report, facets),
        run_facets=run_facets,
        job_facets=job_facets,
    )


def lineage_of_jobs(sensor: BaseOperator, report: ImportReport) -> OperatorLineage[Any, Any]:
    """
    Return where jobs write to, and what is known of their records.

    :param report: The report so far of the imports that the sensor waits for.
    :raises FullStoryError: If the connection cannot be used.
    """
    return OperatorLineage(
        outputs=outputs_of(sensor, report.resource, report), run_facets={RUN_FACET: facet_of_report(report)}
    )


def _run_facet(resource: str, run: ImportRun) -> RunFacet:
    if run.report is None:
        return facet_of_submissions(resource, run.submissions)
    return facet_of_report(run.report)


def _files(locations: Sequence[str]) -> list[Dataset]:
    """Return each file, folder or pattern once."""
    return [
        Dataset(namespace=namespace, name=name)
        for namespace, name in dict.fromkeys(map(file_names, locations))
    ]


def _mapped_keys(files: Sequence[Dataset], options: MappingOptions) -> dict[str, list[InputField]]:
    """Return where keys come from that the mapping names: which others a file has is not known."""
    return {
        key: [InputField(namespace=file.namespace, name=file.name, field=key) for file in files]
        for key in options.mapping.values()
        if files
    }


def _origins(
    columns: Mapping[str, Sequence[InputField]], options: MappingOptions
) -> dict[str, list[InputField]]:
    """Return the field of FullStory that each column goes to, with what the column is made of."""
    origins: defaultdict[str, list[InputField]] = defaultdict(list)
    for column, field in targets_of_rows(list(columns), options).items():
        origins[field] += columns[column]
    return {field: inputs for field, inputs in origins.items() if inputs}
