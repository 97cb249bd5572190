"""The commands, each started as `python3 -m tools.<name>`."""
import sys

import data_prep

if sys.argv[0] == '-m':  # see there: Ctrl-C while the libraries are loaded
    sys.excepthook = data_prep.end_quietly
