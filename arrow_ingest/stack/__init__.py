"""The real systems around arrow_ingest as child processes on loopback ports: Apache Kafka, PostgreSQL, an S3 server."""
