"""A process of ours whose output goes to a run's log: followed line by line, its progress shown."""
import collections
import contextlib
import math
import os
import signal
import sys
import time

from tqdm import tqdm

from tools.core import caffe_log, child

QUIET = 30  # seconds between two lines of progress where there is no terminal

# What we started, and where in the log its output begins.
Started = collections.namedtuple('Started', 'process log offset')


def start(folder, command, environment, **options):
    """Starts a command whose output goes on in the run's log."""
    path = folder / 'log.txt'
    with open(path, 'ab') as log:
        offset = log.tell()
        process = child.start_child(command, env=environment, stdout=log, stderr=log, **options)
    return Started(process, path, offset)


def follow(started, stopped):
    """Yields the lines that Caffe adds to its log, until it ends.

    Passes the first signal on to it, once.
    """
    rest, passed = '', False
    with open(started.log, encoding='utf-8', errors='replace') as file:
        file.seek(started.offset)
        while True:
            # asked before reading, or what it wrote in between would be lost
            ended = started.process.poll() is not None
            if stopped and not passed:
                started.process.send_signal(signal.SIGINT)
                passed = True
                tqdm.write('Stopping: Caffe ends its iteration and writes a snapshot.',
                           file=sys.stderr)
            # the last line may be half there
            *lines, rest = (rest + file.read()).split('\n')
            yield from lines
            if ended:
                return
            time.sleep(0.1)


def reason(started):
    """Why what we started stopped, None where its output does not say."""
    with open(started.log, encoding='utf-8', errors='replace') as file:
        file.seek(started.offset)
        return caffe_log.reason(file)


@contextlib.contextmanager
def progress(begun, total):
    """Yields a function that shows a row of caffe_log: a bar on a terminal, else lines."""
    terminal = sys.stderr.isatty()
    with open(os.devnull, 'w') as nowhere, \
            tqdm(total=total, initial=begun, unit='iteration', ascii=True,
                 file=sys.stderr if terminal else nowhere) as bar:
        said, lr = -math.inf, math.nan

        def show(row):
            nonlocal said, lr
            lr = row.get('lr', lr)  # the very last row comes without
            bar.set_postfix(loss=f'{row["loss"]:.4g}', lr=f'{lr:.4g}', refresh=False)
            bar.update(row['iteration'] - bar.n)
            if not terminal and (time.monotonic() - said > QUIET or row['iteration'] == total):
                said = time.monotonic()
                print(bar, file=sys.stderr)

        yield show
