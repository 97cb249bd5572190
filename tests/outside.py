"""For tests of docker/enter from the outside of the environment; nothing of it is needed here."""
import os
import shutil
import subprocess
import time

import pytest


def needs(variable, what, *programs):
    """What the variable says that asks for these tests; they are skipped where it says nothing, or
    where root or one of the programs is missing."""
    asked = os.environ.get(variable)
    if not asked:
        pytest.skip(f'starts {what} where {variable} is set: see its first lines',
                    allow_module_level=True)
    for program in programs:
        if os.geteuid() or not shutil.which(program):
            pytest.skip(f'needs root and {program}', allow_module_level=True)
    return asked


def copy_checkout(root, checkout):
    """The checkout without what was made in it."""
    shutil.copytree(root, checkout, ignore=shutil.ignore_patterns(
        'data', 'runs', 'predictions', '.git', '*.pyc'))


def entering(checkout, environment, timeout):
    """(start, enter): functions of a command's words and of variables. start gives the process of
    docker/enter, enter (exit status, standard output, standard error) of it."""
    def start(*words, **variables):
        return subprocess.Popen([str(checkout / 'docker/enter'), *words],
                                env={**environment, **variables}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def enter(*words, **variables):
        process = start(*words, **variables)
        output, errors = process.communicate(timeout=timeout)
        return process.returncode, output, errors
    return start, enter


def wait_for(condition, seconds=60, step=0.1):
    """Asks every `step` seconds whether it is so; the test fails where it is not in time."""
    for _ in range(round(seconds / step)):
        if condition():
            return
        time.sleep(step)
    pytest.fail(f'waited for {seconds} s in vain')
