"""A topic in, messages as confluent-kafka's own consumer copies them out: how consumers are usually written."""

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from benchmarks.task import Task

PARTITIONS = 8
SILENCE_SECONDS = 30.0


def group_consumer(task: Task) -> Consumer:
    """A consumer that stands at the beginning of every partition, and whose commits are the caller's."""
    partitions = int(task.options.get("partitions", PARTITIONS))
    consumer = Consumer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "group.id": f"benchmark.{task.folder}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(task.topic, partition, 0) for partition in range(partitions)])
    return consumer


def batches(consumer: Consumer, total: int, most: int) -> Iterator[list[Message]]:
    """Lists of up to ``most`` messages until ``total`` have come.

    Raises:
        TimeoutError: nothing came for `SILENCE_SECONDS`.
        KafkaException: the broker's error.
    """
    seen = 0
    while seen < total:
        received = consumer.consume(num_messages=min(most, total - seen), timeout=SILENCE_SECONDS)
        if not received:
            raise TimeoutError(f"{seen} of {total} messages came")
        for message in received:
            if (error := message.error()) is not None:
                raise KafkaException(error)
        seen += len(received)
        yield received
