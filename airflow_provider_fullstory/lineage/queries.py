"""The tables and columns that a query reads, as Airflow's own parser of SQL finds them."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.openlineage.facet import (
    Error,
    ExtractionErrorRunFacet,
    InputField,
    SQLJobFacet,
)
from airflow.providers.openlineage.sqlparser import SQLParser

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset, RunFacet
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.sqlparser import DatabaseInfo

log = logging.getLogger(__name__)

#: The placeholders of Python's drivers that are not SQL; the parser knows the others.
_PLACEHOLDER: Final = re.compile(r"%\([^)]*\)s|%s|%b|%t|%%")


@dataclasses.dataclass(frozen=True, slots=True)
class QueryLineage:
    """
    What a query reads.

    :param text: The query.
    :param tables: Its tables; empty if the database or the query is not understood.
    :param columns: Column of its result -> the columns that the values come from.
    :param errors: What the parser did not understand.
    """

    text: str
    tables: list[Dataset] = dataclasses.field(default_factory=list)
    columns: dict[str, list[InputField]] = dataclasses.field(default_factory=dict)
    errors: list[str] = dataclasses.field(default_factory=list)

    @property
    def job_facets(self) -> dict[str, Any]:
        """The facet with the query."""
        return {"sql": SQLJobFacet(query=self.text)}

    @property
    def run_facets(self) -> dict[str, RunFacet]:
        """The facet with what was not understood, if anything."""
        if not self.errors:
            return {}
        errors = [Error(errorMessage=error, task=self.text) for error in self.errors]
        return {"extractionError": ExtractionErrorRunFacet(totalTasks=1, failedTasks=1, errors=errors)}


def lineage_of_query(hook: DbApiHook, sql: str, *, has_parameters: bool) -> QueryLineage:
    """
    Return what a query reads. The database is asked for no tables, at most for its default schema.

    :param hook: Hook of the database.
    :param sql: The query, as it is given to the driver.
    :param has_parameters: Whether the driver replaces placeholders in it.
    """
    text = SQLParser.normalize_sql(sql)
    try:
        return _parsed(hook, text, has_parameters=has_parameters)
    except Exception as error:  # noqa: BLE001 - The hooks of any provider describe their databases.
        log.debug("OpenLineage is told only the text of the query. %s: %s", type(error).__name__, error)
        return QueryLineage(text)


def _parsed(hook: DbApiHook, text: str, *, has_parameters: bool) -> QueryLineage:
    connection = hook.get_connection(getattr(hook, hook.conn_name_attr))
    database = hook.get_openlineage_database_info(connection)
    if database is None:
        log.debug("%s does not tell OpenLineage which database it leads to.", type(hook).__name__)
        return QueryLineage(text)
    parser = SQLParser(hook.get_openlineage_database_dialect(connection), _default_schema(hook))
    parsed = parser.parse([_without_placeholders(text) if has_parameters else text])
    if parsed is None:
        return QueryLineage(text)
    names = _Names(parser, database)
    tables = {dataset.name: dataset for dataset in map(names.dataset, parsed.in_tables)}
    columns: dict[str, list[InputField]] = {}
    for column in parsed.column_lineage:
        origins = [(meta.name, names.dataset(meta.origin)) for meta in column.lineage if meta.origin]
        # The parser does not list the tables inside of WITH.
        tables |= {dataset.name: dataset for _, dataset in origins}
        columns[column.descendant.name] = [
            InputField(namespace=dataset.namespace, name=dataset.name, field=field)
            for field, dataset in origins
        ]
    return QueryLineage(
        text, [tables[name] for name in sorted(tables)], columns, [error.message for error in parsed.errors]
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Names:
    """Name the tables of a database as Airflow's other operators do."""

    parser: SQLParser
    database: DatabaseInfo

    def dataset(self, table: Any) -> Dataset:
        namespace = self.parser.create_namespace(self.database)
        [dataset], _ = self.parser.get_metadata_from_parser([table], [], self.database, namespace)
        return dataset


def _default_schema(hook: DbApiHook) -> str | None:
    try:
        return hook.get_openlineage_default_schema()
    except Exception as error:  # noqa: BLE001 - Some hooks ask the database, whose driver may raise anything.
        log.debug("The default schema is not known. %s: %s", type(error).__name__, error)
        return None


def _without_placeholders(sql: str) -> str:
    return _PLACEHOLDER.sub(lambda found: "%" if found[0] == "%%" else "'0'", sql)
