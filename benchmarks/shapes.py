"""A message's number in, a record batch out: schemas that are wider or deeper than events."""

from random import Random

import pyarrow as pa

from benchmarks.topics import NOON

WIDE_COLUMNS = 200


def wide(index: int, rows: int) -> pa.RecordBatch:
    """200 columns: half of them numbers, a quarter texts, a quarter nearly always NULL; and a timestamp."""
    rng = Random(index)  # noqa: S311 - reproducible on purpose
    numbers = pa.array([rng.random() for _ in range(rows)])
    texts = pa.array([f"value-{rng.randrange(1000)}" for _ in range(rows)])
    sparse = pa.array([rng.randrange(100) if rng.random() < 0.02 else None for _ in range(rows)], pa.int64())
    kinds = (numbers, texts, numbers, sparse)
    columns = {f"column_{number:03}": kinds[number % len(kinds)] for number in range(WIDE_COLUMNS - 1)}
    return pa.record_batch({"timestamp": _times(rows), **columns})


def nested(index: int, rows: int) -> pa.RecordBatch:
    """Structs in lists in structs, and a map."""
    rng = Random(index)  # noqa: S311 - reproducible on purpose
    item = pa.struct([("sku", pa.string()), ("count", pa.int32()), ("tags", pa.list_(pa.string()))])
    order = pa.struct([("id", pa.int64()), ("items", pa.list_(item))])
    orders = [
        {
            "id": rng.randrange(10**9),
            "items": [
                {
                    "sku": f"sku-{rng.randrange(500)}",
                    "count": rng.randrange(9),
                    "tags": ["new", "sale"][: rng.randrange(3)],
                }
                for _ in range(rng.randrange(8))
            ],
        }
        for _ in range(rows)
    ]
    labels = [[(f"key-{rng.randrange(20)}", f"value-{rng.randrange(50)}")] for _ in range(rows)]
    return pa.record_batch(
        {
            "timestamp": _times(rows),
            "order": pa.array(orders, order),
            "labels": pa.array(labels, pa.map_(pa.string(), pa.string())),
        }
    )


def _times(rows: int) -> pa.Array:
    return pa.array([NOON.isoformat()] * rows)
