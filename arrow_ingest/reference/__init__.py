"""The model and the type rules to what people and editors read: a JSON schema, and the tables of the documentation."""
