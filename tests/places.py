"""Working directories for the tests."""
import contextlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep import pair_lmdb

ROOT = Path(__file__).resolve().parents[1]
# Since Python 3.11 csv takes a cell with a NUL.
NUL_IN_CSV = sys.version_info >= (3, 11)
NO_DRIVER = re.compile(r'WARNING: Logging before Init|E\d+ .* common\.cpp:\d+\] (Cannot|Curand)')


def refusal(monkeypatch, main, *words):
    """Runs a program by its main(); what it says where it ends in a refusal, else None."""
    monkeypatch.setattr(sys, 'argv', [main.__module__, *words])
    try:
        main()
    except SystemExit as error:
        return str(error)


def build_smooth(place, people, classes):
    """Builds fold 0 of data/demo under `place`: a smooth random pair a person, training and test
    alike; classes by turns."""
    fold = place / 'data/demo/fold0'
    fold.mkdir(parents=True)
    (place / 'data/demo/classes.txt').write_text(''.join(f'{name}\n' for name in classes))
    random = np.random.RandomState(0)
    crops = [
        cv2.GaussianBlur(random.randint(0, 256, (66, 66)).astype(np.uint8), (0, 0), 3)
        for _ in range(people)
    ]
    rows = [
        dict(subject=f'S{i:03}', sequence='001', frame='7', expression=classes[i % len(classes)],
             path=i, reference=i // 2) for i in range(people)
    ]
    for part in 'train', 'test':
        pair_lmdb.write_pairs(str(fold / part), rows, classes, crops.__getitem__)


def enter_copy(made, tmp_path, monkeypatch):
    """Copies the folder `made` and makes the copy the working directory; gives it back."""
    shutil.copytree(made, tmp_path / 'copy')
    monkeypatch.chdir(tmp_path / 'copy')
    monkeypatch.syspath_prepend(str(ROOT))
    return tmp_path / 'copy'


@contextlib.contextmanager
def signals_given_back():
    """Restores the handlers that training in this process takes."""
    handlers = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def small_disk(path, size):
    """A disk of so many bytes mounted at a path; the test is passed over where one may not."""
    path.mkdir(parents=True)
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(path)],
                             stderr=subprocess.DEVNULL)
    if mounted.returncode:
        pytest.skip('no disk can be mounted here')
    try:
        yield
    finally:
        subprocess.run(['umount', str(path)], check=True)


def own_words(err):
    """What was said on standard error, without what Caffe compiled for CUDA says where there is no
    driver."""
    return ''.join(line for line in err.splitlines(True) if not NO_DRIVER.match(line))


def may_mount():
    """Whether this process may mount, as root in an environment of its own."""
    return subprocess.run(['unshare', '--mount', 'true'], stderr=subprocess.DEVNULL).returncode == 0


def children_of(process):
    """The numbers of the processes that a process has started, as the kernel has them."""
    return [int(child) for child in
            Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()]
