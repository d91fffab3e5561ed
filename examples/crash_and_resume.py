# %% [markdown]
# # Crash and resume
# A drain is killed with SIGKILL between two commits. What it had committed stays, what it had not is read again, and
# nothing is there twice.

# %%
import os
import signal
import subprocess
import sys

import pyarrow as pa
from ground import Ground

from arrow_ingest import ArrowProducer

ground = Ground()
ground.topic("readings", partitions=1)
ground.pipeline("readings", topic="readings", settings="flush: {max_bytes: 1B}")  # a commit for every message or two
with ArrowProducer("readings", {"bootstrap.servers": ground.bootstrap_servers}) as producer:
    for hour in range(60):
        producer.send(pa.RecordBatch.from_pydict({"hour": [hour] * 1000, "value": [float(n) for n in range(1000)]}))

# %%
drain = subprocess.Popen(
    [sys.executable, "-m", "arrow_ingest", "drain"], cwd=ground.folder, stderr=subprocess.PIPE, text=True
)
next(line for line in drain.stderr if "snapshot=" in line)  # its first commit
os.kill(drain.pid, signal.SIGKILL)
ended = drain.wait()

# %% [markdown]
# Whatever the moment was: the lake holds whole commits, and the stored offsets say exactly which.

# %%
ground.run("verify")

# %%
ground.run("drain")
ground.run(
    "sql", "SELECT count(*) AS rows, count(DISTINCT hour) AS hours, max(_kafka_offset) AS last_offset FROM readings"
)
ground.run(
    "sql",
    "SELECT count(*) AS twice FROM (SELECT 1 FROM readings GROUP BY _kafka_offset, _kafka_row HAVING count(*) > 1)",
)
ground.close()
