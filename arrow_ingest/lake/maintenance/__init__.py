"""Tidying up a lake beside the lanes that write to it: a pipeline's settings to reports of what was done."""
