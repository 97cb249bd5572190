"""The commands, each started as `python3 -m tools.<name>`."""
import data_prep  # noqa: F401  # Ctrl-C while the libraries are loaded
