# %% [markdown]
# # Producers change their schema
# What loses nothing is applied in the commit that brings it: a new column, a wider number. What would need a silent
# cast becomes a dead letter, and the messages that fit go on.

# %%
import pyarrow as pa
from ground import Ground

from arrow_ingest import ArrowProducer

ground = Ground()
ground.topic("users", partitions=1)
ground.pipeline("users", topic="users")
servers = {"bootstrap.servers": ground.bootstrap_servers}

# %%
with ArrowProducer("users", servers) as producer:
    producer.send(pa.RecordBatch.from_pydict({"id": pa.array([1, 2], pa.int32())}))
ground.run("drain")
ground.run("sql", "DESCRIBE users")

# %%
with ArrowProducer("users", servers) as producer:
    producer.send(pa.RecordBatch.from_pydict({"id": pa.array([5_000_000_000], pa.int64()), "plan": ["pro"]}))
    producer.send(pa.RecordBatch.from_pydict({"id": ["seven"]}))
    producer.send(pa.RecordBatch.from_pydict({"id": pa.array([3], pa.int32()), "plan": [None]}))
ground.run("drain")
ground.run("sql", "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'users' LIMIT 2")
ground.run("sql", "SELECT id, plan FROM users ORDER BY id")
ground.run("sql", 'SELECT partition, "offset", reason, detail FROM users__dead_letters')
ground.run("verify")
ground.close()
