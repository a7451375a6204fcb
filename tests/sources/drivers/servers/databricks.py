"""Databricks' side of its Thrift protocol, in the code that its driver brings along: one batch of Arrow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.sources.drivers.servers.http import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATH = "/sql/1.0/warehouses/1"


class Answers:
    """
    Answers of a server whose every query gives one row.

    :param columns: Of each column the name of its type in Thrift, its array of Arrow, and the type in SQL
        where only Arrow's metadata tells it.
    """

    def __init__(self, columns: list[tuple[str, Any, str | None]]) -> None:
        from databricks.sql.thrift_api.TCLIService import ttypes

        self.types = ttypes
        self.columns = columns
        self.done = ttypes.TStatus(statusCode=ttypes.TStatusCode.SUCCESS_STATUS)
        self.identifier = ttypes.THandleIdentifier(guid=b"0" * 16, secret=b"1" * 16)

    def OpenSession(self, _: Any) -> Any:  # noqa: N802
        version = self.types.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V7
        handle = self.types.TSessionHandle(sessionId=self.identifier, serverProtocolVersion=version)
        return self.types.TOpenSessionResp(
            status=self.done, serverProtocolVersion=version, sessionHandle=handle
        )

    def CloseSession(self, _: Any) -> Any:  # noqa: N802
        return self.types.TCloseSessionResp(status=self.done)

    def ExecuteStatement(self, _: Any) -> Any:  # noqa: N802
        types, done = self.types, self.done
        handle = types.TOperationHandle(operationId=self.identifier, operationType=0, hasResultSet=True)
        state = types.TOperationState.FINISHED_STATE
        results = types.TSparkDirectResults(
            operationStatus=types.TGetOperationStatusResp(status=done, operationState=state),
            resultSetMetadata=types.TGetResultSetMetadataResp(
                status=done,
                schema=types.TTableSchema([self._column(index) for index in range(len(self.columns))]),
                resultFormat=types.TSparkRowSetType.ARROW_BASED_SET,
                arrowSchema=self._batch().schema.serialize().to_pybytes(),
            ),
            resultSet=types.TFetchResultsResp(status=done, hasMoreRows=False, results=self._rows()),
            closeOperation=types.TCloseOperationResp(status=done),
        )
        return types.TExecuteStatementResp(status=done, operationHandle=handle, directResults=results)

    def _column(self, index: int) -> Any:
        kind = self.types.TPrimitiveTypeEntry(type=getattr(self.types.TTypeId, self.columns[index][0]))
        description = self.types.TTypeDesc([self.types.TTypeEntry(primitiveEntry=kind)])
        return self.types.TColumnDesc(columnName=f"c{index}", position=index + 1, typeDesc=description)

    def _rows(self) -> Any:
        batch = self._batch()
        arrow = self.types.TSparkArrowBatch(batch=batch.serialize().to_pybytes(), rowCount=batch.num_rows)
        return self.types.TRowSet(startRowOffset=0, rows=[], arrowBatches=[arrow])

    def _batch(self) -> Any:
        import pyarrow

        fields = [
            pyarrow.field(f"c{index}", values.type, metadata={"Spark:DataType:SqlName": name} if name else {})
            for index, (_, values, name) in enumerate(self.columns)
        ]
        return pyarrow.record_batch([values for _, values, _ in self.columns], schema=pyarrow.schema(fields))


@contextmanager
def databricks(*columns: tuple[str, Any, str | None]) -> Iterator[Callable[[], Any]]:
    """Give a function that connects to a server that gives these columns for every query."""
    from databricks import sql
    from databricks.sql.thrift_api.TCLIService.TCLIService import Processor
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.transport.TTransport import TMemoryBuffer

    processor = Processor(Answers(list(columns)))

    def answer(path: str, body: bytes) -> tuple[str, bytes]:
        if path != PATH:
            return "application/json", b"{}"
        output = TMemoryBuffer()
        processor.process(TBinaryProtocol(TMemoryBuffer(body)), TBinaryProtocol(output))
        return "application/x-thrift", output.getvalue()

    with answering(answer) as port:
        url = f"http://127.0.0.1:{port}"
        yield lambda: sql.connect(
            server_hostname=url,
            http_path=PATH,
            access_token="token",
            enable_telemetry=False,
            _port=port,
            _connection_uri=url + PATH,
        )
