#!/bin/sh
# Make the topic, if it is not there. Runs in Kafka's image, whose scripts lie in /opt/kafka/bin.
set -eu
PATH=$PATH:/opt/kafka/bin
kafka-topics.sh --bootstrap-server "$KAFKA_BOOTSTRAP_SERVERS" --create --if-not-exists --topic "$TOPIC" \
    --partitions "$TOPIC_PARTITIONS" --replication-factor 1 --config max.message.bytes=17825792
