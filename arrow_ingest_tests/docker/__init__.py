"""The files of docker/, proven without a container engine."""
