"""The only room that knows both ends: drains one lane from Kafka into the lake and yields receipts."""
