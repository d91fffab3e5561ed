# %% [markdown]
# # Two topics, one lake
# N topics to N tables are N documents of YAML. Each pipeline has its own offsets, dead letters and ledger; SQL joins
# them.

# %%
import pyarrow as pa
from ground import Ground

from arrow_ingest import ArrowProducer

ground = Ground()
for name in ("orders", "payments"):
    ground.topic(name)
    ground.pipeline(name, topic=name)

# %%
servers = {"bootstrap.servers": ground.bootstrap_servers}
with ArrowProducer("orders", servers) as orders, ArrowProducer("payments", servers) as payments:
    orders.send(pa.RecordBatch.from_pydict({"id": [1, 2, 3], "item": ["tea", "cup", "pot"], "cents": [450, 900, 2900]}))
    payments.send(pa.RecordBatch.from_pydict({"order_id": [1, 3], "cents": [450, 2900]}))

# %%
ground.run("drain", "orders")
ground.run("drain", "payments")
ground.run("sql", "SELECT o.item FROM orders o ANTI JOIN payments p ON p.order_id = o.id")
ground.run("verify")
ground.close()
