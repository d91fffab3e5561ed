# %% [markdown]
# # A schema of your own, with nested types
# Lists, structs and maps arrive as they are, and so do decimals, times with a zone and dictionaries. `columns`
# declares the one cast: text to an instant, by which the table is partitioned.

# %%
from decimal import Decimal

import pyarrow as pa
from ground import Ground

from arrow_ingest import ArrowProducer

ground = Ground()
ground.topic("baskets")
ground.pipeline(
    "baskets",
    topic="baskets",
    settings="columns: {bought_at: timestamptz}\npartition_by: {column: bought_at, unit: day, start: 2026-11-01}",
)

# %%
line = pa.struct([("sku", pa.string()), ("price", pa.decimal128(9, 2))])
schema = pa.schema(
    {
        "bought_at": pa.string(),
        "country": pa.dictionary(pa.int8(), pa.string()),
        "lines": pa.list_(line),
        "labels": pa.map_(pa.string(), pa.string()),
    }
)
rows = [
    {
        "bought_at": "2026-11-03T09:30:00+01:00",
        "country": "DE",
        "lines": [{"sku": "tea", "price": Decimal("4.50")}, {"sku": "pot", "price": Decimal("29.00")}],
        "labels": [("gift", "yes")],
    },
    {"bought_at": "2026-11-04T23:59:59Z", "country": "FR", "lines": [], "labels": None},
]
with ArrowProducer("baskets", {"bootstrap.servers": ground.bootstrap_servers}) as producer:
    producer.send(pa.Table.from_pylist(rows, schema=schema))

# %% [markdown]
# `inspect` says what would become of the topic's last messages, before anything is committed.

# %%
ground.run("inspect", "baskets")

# %%
ground.run("drain")
ground.run(
    "sql", "SELECT bought_at::DATE AS day, country, list_sum(list_transform(lines, l -> l.price)) AS total FROM baskets"
)
ground.run("sql", "SELECT labels['gift'] AS gift, len(lines) AS lines FROM baskets")
ground.run("verify")
ground.close()
