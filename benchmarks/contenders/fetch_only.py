"""Limit (e): every message through this project's consumer, looked at by nobody."""

from arrow_ingest.kafka.cluster import Cluster
from arrow_ingest.kafka.consumer import Consumer
from arrow_ingest.kafka.message import Message
from arrow_ingest.pipeline.allocator import keep_freed_memory
from arrow_ingest.values import Position
from benchmarks.measurement import Meter
from benchmarks.settings import pipeline
from benchmarks.task import Task, Work


def run(task: Task, meter: Meter) -> Work:
    """Poll until every message has come."""
    keep_freed_memory()  # as a drain does
    work = Work()
    config = pipeline(task)
    with Cluster(config.kafka) as cluster:
        topic = cluster.topic_state()
    consumer = Consumer(
        config.kafka,
        group=config.group,
        positions={partition: Position(topic.low[partition]) for partition in topic.partitions},
        max_message_bytes=config.limits.max_message_bytes,
        max_queued_bytes=config.kafka.max_queued_bytes,
    )
    with consumer:
        while work.messages < task.messages and meter.elapsed_seconds < task.cap_seconds:
            events = consumer.poll()
            if events:
                meter.begin()
            for event in events:
                if isinstance(event, Message) and event.payload is not None:
                    work.messages += 1
                    work.bytes_received += event.payload.size
    meter.mark()
    work.rows = task.rows * work.messages // task.messages
    return work
