"""Reads the log of `caffe train`: losses, learning rates, test outputs, and why it died."""
import re

STEP = re.compile(r'^I.*\] Iteration (\d+)(?: \(.*\))?, (loss|lr) = (\S+)')
TESTING = re.compile(r'^I.*\] Iteration (\d+), Testing net')
OUTPUT = re.compile(r'^I.*\] +(Train|Test) net output #\d+: (\S+) = (\S+)')
FATAL = re.compile(r'^F(?:\d{4})?\d{4} [^\]]*\] (.*)')  # Debian 12's glog writes the year too
RAISED = re.compile(r'^(?:\w+\.)*\w*(?:Error|Exception|Interrupt): .*')  # by a Python layer


def rows(lines):
    """Yields a dict for each iteration that a log of `caffe train` shows, once it is complete.

    Keys: iteration (int), loss, lr, each train output by its top's name, each test output as
    test_<name>, as floats (nan and inf too), not weighted; only what was shown, and no outputs of
    several elements.
    """
    row = {}
    for line in lines:
        step, testing, output = STEP.match(line), TESTING.match(line), OUTPUT.match(line)
        if step or testing:
            iteration = int((step or testing).group(1))
            # Where a rate is not shown, the next iteration tells that this one is complete.
            if row and row['iteration'] != iteration:
                yield scalars(row)
                row = {}
            row['iteration'] = iteration
        if step:
            row[step.group(2)] = float(step.group(3))
            if step.group(2) == 'lr':  # the last line of an iteration
                yield scalars(row)
                row = {}
        elif output and row:
            name = output.group(2) if output.group(1) == 'Train' else 'test_' + output.group(2)
            row[name] = None if name in row else float(output.group(3))
    if row:
        yield scalars(row)


def scalars(row):
    """`row` without what was shown more than once, element by element."""
    return {name: value for name, value in row.items() if value is not None}


def reason(lines):
    """Why Caffe died: its fatal message, else a Python layer's last error, or None."""
    raised = None
    for line in lines:
        if FATAL.match(line):
            return FATAL.match(line).group(1)
        if RAISED.match(line):
            raised = line.strip()
    return raised
