"""Untrusted Arrow IPC bytes in, validated record batches or a rejection out."""
