"""Processes of Caffe, beside our own: where it aborts, we go on."""
import json
import os
import subprocess
import sys
from pathlib import Path

from tools.core import caffe_log, files

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 120  # seconds that a network may take


def blob_shapes(network, batch=0):
    """{layer: [shape of each blob]} of a network's text.

    SystemExit, saying why, if Caffe cannot make it. batch: 0 for a training network, which is made
    alone; else a deploy network, through which one query and then so many are sent.
    """
    with files.temporary(network, '.prototxt') as path:
        command = [sys.executable, '-m', 'tools.core.blob_shapes', path]
        # Of a network that may be anybody's no working directory is on the module path.
        place = dict(cwd=ROOT, timeout=LONGEST) if batch else {}
        try:
            made = subprocess.run(command + [str(batch)] * bool(batch),
                                  env=environment(level=2), stdin=subprocess.DEVNULL,
                                  capture_output=True, encoding='utf-8', errors='replace', **place)
        except subprocess.TimeoutExpired:
            raise SystemExit(
                f'Caffe cannot make this network: not done in {LONGEST} seconds.') from None

    if made.returncode:
        why = caffe_log.reason(made.stderr.splitlines()) or f'exit code {made.returncode}'
        raise SystemExit(f'Caffe cannot make this network: {why}.')
    return json.loads(made.stdout)


def environment(level=0):
    """The environment of a `caffe` process: layers are found from the checkout, the log goes to
    stderr, and Caffe's own layers may use all cores where OMP_NUM_THREADS does not say how many
    (the packaged Caffe's use one)."""
    threads = os.environ.get('OMP_NUM_THREADS') or str(len(os.sched_getaffinity(0)))
    path = os.pathsep.join(filter(None, ['.', os.environ.get('PYTHONPATH')]))
    return dict(os.environ, OMP_NUM_THREADS=threads, PYTHONPATH=path, GLOG_logtostderr='1',
                GLOG_minloglevel=str(level))
