"""What is wrong with a pipeline to messages on people's phones. No Dagster and no lake here."""
