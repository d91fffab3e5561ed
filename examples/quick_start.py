# %% [markdown]
# # Quick start
# Record batches on a topic, one pipeline of a few lines of YAML, rows in a table, and the proof that none is missing.

# %%
import pyarrow as pa
from ground import Ground

from arrow_ingest import ArrowProducer

ground = Ground()
ground.topic("clicks")
ground.pipeline("clicks", topic="clicks")

# %%
with ArrowProducer("clicks", {"bootstrap.servers": ground.bootstrap_servers}) as producer:
    for page in ("/", "/prices", "/docs"):
        producer.send(pa.RecordBatch.from_pydict({"page": [page] * 100, "n": list(range(100))}))
producer.acknowledged.rows

# %% [markdown]
# A drain reads what the topic holds, and commits rows and offsets in one snapshot of the lake. The next one finds
# nothing.

# %%
ground.run("drain")
ground.run("sql", "SELECT page, count(*) AS clicks, sum(n)::BIGINT AS total FROM clicks GROUP BY ALL ORDER BY page")
ground.run("drain")

# %% [markdown]
# `verify` goes through the whole history: each offset once, each row once, each file there.

# %%
ground.run("verify")
ground.close()
