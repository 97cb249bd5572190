"""Work on many pictures in several processes, in order, with a progress bar; and turns of several
programs."""
import concurrent.futures
import ctypes
import fcntl
import os
import signal
import sys

import cv2
from tqdm import tqdm

PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


def usable():
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run(function, jobs, workers, chunk=64, **bar):
    """Yields function(job) for each of the list `jobs`, in their order, whatever the number of
    workers (1: in this process, else that many; function is then a module's own, and what it takes
    and gives can be pickled). `bar`: desc and unit of the progress bar.

    An exception of the function comes out here; SystemExit where a worker process was killed.
    """
    cv2.setNumThreads(1)  # one core a worker, also where this process is the only one
    interval = 0.1 if sys.stderr.isatty() else 10  # seconds; a log needs few lines
    bar = dict(total=len(jobs), ascii=True, disable=not jobs, mininterval=interval, **bar)
    if workers == 1:
        yield from tqdm(map(function, jobs), **bar)
        return
    with pool(workers) as executor:
        try:
            yield from tqdm(executor.map(function, jobs, chunksize=chunk), **bar)
        except concurrent.futures.process.BrokenProcessPool:
            raise SystemExit(
                'A worker process was ended from outside (memory or disk full?): start again, with '
                'fewer WORKERS.') from None
        finally:
            executor.shutdown(cancel_futures=True)


def take_turn(lock, waiting):
    """Takes a lock, an open file or its descriptor; where another process holds it, says `waiting`
    on standard error and waits. OSError where the file system has none."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(waiting, file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)


def pool(number):
    """A pool of so many processes, each on one core, that end when this one does."""
    cv2.setNumThreads(1)  # a forked process must not inherit a thread pool
    return concurrent.futures.ProcessPoolExecutor(number, initializer=die_with,
                                                  initargs=(os.getpid(), ))


def die_with(parent):
    """Has this process killed when its parent ends, however that ends; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os.kill(os.getpid(), signal.SIGKILL)
