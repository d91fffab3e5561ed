"""A seed and a batch's number in, a record batch of a shop's orders out: nested, typed, and nothing like events.

What the demo's second pipeline reads. The clock is never read: the caller says what "now" is.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

import pyarrow as pa

ITEM: Final = pa.struct([("sku", pa.string()), ("quantity", pa.int32()), ("price", pa.decimal128(10, 2))])
ADDRESS: Final = pa.struct([("country", pa.string()), ("city", pa.string()), ("postcode", pa.string())])

ORDER_SCHEMA: Final = pa.schema(
    [
        ("order_id", pa.int64()),
        ("customer_id", pa.int64()),
        ("placed_at", pa.timestamp("ms", "UTC")),
        ("status", pa.string()),
        ("currency", pa.string()),
        ("total", pa.decimal128(12, 2)),
        ("items", pa.list_(ITEM)),
        ("ship_to", ADDRESS),
        ("note", pa.string()),
    ]
)
"""The columns of a generated batch; ``note`` holds nulls in most rows, ``total`` is the sum of the items."""

STATUSES: Final = ("placed", "paid", "packed", "shipped", "returned")
PLACES: Final = (
    ("DE", "Berlin"),
    ("FR", "Lyon"),
    ("GB", "Leeds"),
    ("JP", "東京"),
    ("US", "Austin"),
    ("BR", "São Paulo"),
)
CURRENCIES: Final = {"GB": "GBP", "JP": "JPY", "US": "USD", "BR": "BRL"}
NOTES: Final = (None, None, None, None, "leave at the door", "gift")

CUSTOMERS: Final = 5_000
SKUS: Final = 400


class OrderGenerator:
    """Batches of orders, each made from the seed and its own number alone; batch ``i`` is ``i % days`` days old.

    Args:
        seed: what everything is drawn from.
        now: a time with zone. No order is later.
        days: days (UTC) that orders are of, ``now``'s included.

    Raises:
        ValueError: ``now`` has no zone, or ``days`` is not positive.
    """

    def __init__(self, seed: int, *, now: datetime, days: int = 1) -> None:
        if now.tzinfo is None or days < 1:
            raise ValueError("now needs a zone, and there is at least one day")
        self._seed = seed
        self._now = now.astimezone(UTC)
        self._days = days

    def batch(self, index: int, rows: int = 1_000) -> pa.RecordBatch:
        """Batch ``index``, of exactly ``rows`` rows in the columns of :data:`ORDER_SCHEMA`."""
        rng = Random(f"orders {self._seed} {index}")  # noqa: S311 - reproducible on purpose
        midnight = self._now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=index % self._days)
        span_ms = int((min(self._now, midnight + timedelta(days=1)) - midnight) / timedelta(milliseconds=1))
        orders = [
            _order(rng, index * rows + row, midnight + timedelta(milliseconds=rng.randrange(max(span_ms, 1))))
            for row in range(rows)
        ]
        return pa.RecordBatch.from_pylist(orders, schema=ORDER_SCHEMA)


def _order(rng: Random, order_id: int, placed_at: datetime) -> dict[str, Any]:
    items: list[dict[str, Any]] = [
        {
            "sku": f"SKU-{rng.randrange(SKUS):05}",
            "quantity": rng.randint(1, 4),
            "price": Decimal(rng.randrange(99, 20_000)) / 100,
        }
        for _ in range(rng.randint(1, 5))
    ]
    country, city = rng.choice(PLACES)
    return {
        "order_id": order_id,
        "customer_id": rng.randrange(CUSTOMERS),
        "placed_at": placed_at,
        "status": rng.choice(STATUSES),
        "currency": CURRENCIES.get(country, "EUR"),
        "total": sum((item["quantity"] * item["price"] for item in items), Decimal(0)),
        "items": items,
        "ship_to": {"country": country, "city": city, "postcode": f"{rng.randrange(100_000):05}"},
        "note": rng.choice(NOTES),
    }
