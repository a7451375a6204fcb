"""Which column fills which field, and what is wrong with columns that fill no field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from airflow_provider_fullstory.records.rules import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_fullstory.records.fields import Path
    from airflow_provider_fullstory.records.options import MappingOptions

#: Columns that a message lists.
_MOST_NAMES: Final = 50


def targets_of(columns: Sequence[str], options: MappingOptions) -> tuple[dict[Path, int], list[str]]:
    """
    Return the column of each path, and what is wrong with the columns or the mapping.

    :param columns: Names of the columns.
    :param options: The options of the mapping.
    """
    targets: dict[Path, int] = {}
    problems: list[str] = []
    inside: dict[Path, Path] = {}
    for name, index, path in _requests(columns, options, problems):
        other = _clash(path, targets, inside, options.kind.objects)
        if other is None:
            targets[path] = index
            inside |= {path[:depth]: path for depth in range(1, len(path)) if path[:depth] not in inside}
        else:
            problems.append(
                f"columns {quoted(columns[targets[other]])} and {quoted(name)} both go to "
                f"{quoted('.'.join(path))}; rename one of them in the query (AS), or map it"
            )
    kind = options.kind
    if kind.name is not None and options.name is not None and (kind.name.path,) in targets:
        column = columns[targets.pop((kind.name.path,))]
        problems.append(
            f"{kind.name_argument} is set, and column {quoted(column)} holds a name too; leave out "
            f"{kind.name_argument}, or rename the column to '{kind.default_root}.{kind.name.path}' if it is "
            "a property"
        )
    problems += [
        f"column {quoted(columns[targets.pop(path)])} goes to {path[0]!r}, which is in shared too; FullStory "
        f"rejects {kind.resource} that have both"
        for path in list(targets)
        if getattr(options.shared, path[0], UNSET) is not UNSET
    ]
    return targets, problems


def _requests(
    columns: Sequence[str], options: MappingOptions, problems: list[str]
) -> Iterator[tuple[str, int, Path]]:
    """Yield each column with the path that the mapping or its own name asks for."""
    exact: dict[str, int] = {}
    folded: dict[str, int] = {}
    for index, name in enumerate(columns):
        if name in exact:
            problems.append(f"there are two columns {quoted(name)}; rename one of them in the query (AS)")
        exact.setdefault(name, index)
        folded.setdefault(name.casefold(), index)
    mapped: set[int] = set()
    excluded = {index for index, name in enumerate(columns) if options.is_excluded(name)}
    for field, name in options.mapping.items():
        found = exact.get(name, folded.get(name.casefold()))
        path, problem = options.kind.path_of(field)
        if problem or path is None:
            problems.append(f"mapping has the key {quoted(field)}: {problem}")
        elif found in excluded:
            problems.append(
                f"mapping sends column {quoted(name)}, which exclude_columns keeps from being sent"
            )
        elif found is not None:
            mapped.add(found)
            yield columns[found], found, path
    for index, name in enumerate(columns):
        if index in mapped or index in excluded or exact[name] != index or options.dropped_because(name):
            continue
        path, problem = options.kind.path_of(name)
        if problem or path is None:
            problems.append(f"column {quoted(name)}: {problem}")
        else:
            yield name, index, path


def missing_columns(columns: Sequence[str], options: MappingOptions) -> list[str]:
    """Return a problem for each column that the user names and the source does not have."""
    present = {name.casefold() for name in columns}
    names = ", ".join(map(quoted, columns[:_MOST_NAMES]))
    if len(columns) > _MOST_NAMES:
        names += f" and {len(columns) - _MOST_NAMES} more"
    named = [(f"mapping fills {quoted(field)} from column", name) for field, name in options.mapping.items()]
    named += [("record_key names column", name) for name in options.record_key]
    named += [("exclude_columns names column", name) for name in options.excluded]
    named += [("json_columns names column", name) for name in options.json_columns]
    if not options.is_insert_id_whole:
        named += [("insert_id names column", name) for name in options.insert_id]
    return [
        f"{use} {quoted(name)}, which the source does not have; its columns are {names}"
        for use, name in named
        if name.casefold() not in present
    ]


def _clash(
    path: Path, targets: Mapping[Path, int], inside: Mapping[Path, Path], objects: frozenset[str]
) -> Path | None:
    """
    Return what fills the same field as a path; an object may have a column besides those of its members.

    :param path: The path.
    :param targets: Paths that are filled.
    :param inside: Objects around these, each with the first path inside it.
    :param objects: Dotted paths of all objects.
    """
    if path in targets:
        return path
    if path in inside and ".".join(path) not in objects:
        return inside[path]
    parents = (path[:depth] for depth in range(1, len(path)))
    return next((taken for taken in parents if taken in targets and ".".join(taken) not in objects), None)
