"""The rows that all contenders send, and the query that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from demo.warehouse import Warehouse

EVENT_NAME: Final = "Order Updated"
#: Eleven columns: text, numbers of three kinds, a truth value, a timestamp, a JSON document, NULLs and text
#: beyond ASCII.
QUERY: Final = """
    SELECT order_id, customer_id AS "user.uid", updated_at AS "timestamp", page AS "context.browser.url",
           status, total, quantity, is_first, coupon, note, details
    FROM orders
    ORDER BY order_id
"""
#: What the columns become, built by the database: NULLs are left out, as everywhere else.
EVENT_IN_SQL: Final = """
    json_build_object(
        'name', 'Order Updated',
        'timestamp', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'user', json_build_object('uid', customer_id),
        'context', json_build_object('browser', json_build_object('url', page)),
        'properties', json_strip_nulls(json_build_object(
            'order_id', order_id, 'status', status, 'total', total, 'quantity', quantity,
            'is_first', is_first, 'coupon', coupon, 'note', note, 'details', details
        ))
    )
"""
#: Gives a line for each event; delimiter and quote are characters that never occur, so nothing is quoted.
COPY: Final = (
    f"COPY (SELECT {EVENT_IN_SQL}::text FROM orders ORDER BY order_id) "  # noqa: S608 - Our own text.
    "TO STDOUT WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
)
_TABLE: Final = """
    CREATE TABLE orders AS
    SELECT
        number::bigint AS order_id,
        'customer-' || number % 50000 AS customer_id,
        timestamptz '2026-01-01 00:00:00+00' + number * interval '1.234567 seconds' AS updated_at,
        'https://shop.example.com/orders/' || number || '?ref=mail' AS page,
        (ARRAY['placed', 'paid', 'sent', 'delivered', 'returned'])[1 + number % 5] AS status,
        (number % 100000)::numeric(12, 2) / 100 AS total,
        (1 + number % 7)::integer AS quantity,
        number % 3 = 0 AS is_first,
        CASE WHEN number % 4 = 0 THEN 'SPRING-' || number % 100 END AS coupon,
        CASE WHEN number % 5 < 2
            THEN 'Lieferung an Frau Müller, größere Straße ' || number % 90 || ', 注文ありがとう'
            END AS note,
        jsonb_build_object('channel', (ARRAY['app', 'web', 'shop'])[1 + number % 3],
            'tags', jsonb_build_array('réduction', 'x' || number % 10), 'items', number % 9) AS details
    FROM generate_series(1, {rows}) AS number
"""


def create(warehouse: Warehouse, rows: int) -> None:
    """
    Fill the table.

    :param warehouse: The server.
    :param rows: How many rows.
    """
    with warehouse.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS orders")
        cursor.execute(_TABLE.format(rows=rows))
        cursor.execute("ALTER TABLE orders ADD PRIMARY KEY (order_id)")
    with warehouse.cursor() as cursor:
        cursor.execute("ANALYZE orders")
