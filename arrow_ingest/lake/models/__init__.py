"""SQL models: queries over a pipeline's table, one table partition at a time, to tables of the lake."""
