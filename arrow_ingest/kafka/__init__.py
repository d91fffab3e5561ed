"""librdkafka without copies: records in, messages whose payloads lie in its receive buffers out."""
