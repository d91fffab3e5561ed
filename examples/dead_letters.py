# %% [markdown]
# # Dead letters, and how they become rows after all
# Bytes that cannot become rows are kept whole, in the same commit as the rows around them. Once the cause is gone,
# `replay` brings them in, exactly once.

# %%
import pyarrow as pa
from ground import Ground

from arrow_ingest import ArrowProducer

ground = Ground()
ground.topic("metrics", partitions=1)
ground.pipeline("metrics", topic="metrics", settings="limits: {max_rows: 100}")

# %%
with ArrowProducer("metrics", {"bootstrap.servers": ground.bootstrap_servers}) as producer:
    producer.send(pa.RecordBatch.from_pydict({"value": list(range(10))}))
    producer.send_payload(b"this is not Arrow")
    producer.send(pa.RecordBatch.from_pydict({"value": list(range(500))}))
ground.run("drain")
ground.run("sql", 'SELECT "offset", reason, octet_length(payload) AS bytes FROM metrics__dead_letters ORDER BY ALL')

# %% [markdown]
# The limit was too low; with a higher one, one of the two letters becomes rows, and the other one stays.

# %%
ground.pipeline("metrics", topic="metrics", settings="limits: {max_rows: 1000}")
ground.run("dead-letters replay")
ground.run("sql", "SELECT _kafka_offset, count(*) AS rows FROM metrics GROUP BY ALL ORDER BY ALL")
ground.run("verify")

# %% [markdown]
# What nobody waits for any more is given up by hand, or by `dead_letters.keep_days`.

# %%
ground.run("dead-letters expire", "--older-than-days", "0")
ground.close()
