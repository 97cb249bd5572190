"""Ctrl-C for the tests' children, also where a shell runs the tests in its background and has it
ignored."""
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
