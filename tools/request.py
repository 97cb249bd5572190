"""What a command line of tools.train asks for, checked before Caffe starts."""
import argparse
import functools
import hashlib
import inspect
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2

from data_prep import lmdb_writer
from prototxt import net
from tools import caffe_log, forward, runs

SOLVER_SETTINGS = ('gamma', 'power')  # arguments of net.solver that --set may give
SHAPES = '''import caffe, json, sys
net = caffe.Net(sys.argv[1], caffe.TRAIN)
print(json.dumps({name: [list(blob.shape) for blob in blobs] for name, blobs in net.params.items()}))'''


def read(arguments):
    """(folder, dict for run.json, GPU's ID or None) of a training command; SystemExit if it cannot be run."""
    default = {name: parameter.default for function in (net.train_val, net.solver)
               for name, parameter in inspect.signature(function).parameters.items()}
    tunable = [*net.SETTINGS, *SOLVER_SETTINGS, 'balance']
    parser = argparse.ArgumentParser(prog='python3 -m tools.train', description='Train a variant on a fold.')
    runs.add_arguments(parser)
    parser.add_argument('--iters', default=default['max_iter'], help='default: %(default)s')
    parser.add_argument('--base-lr', default=default['base_lr'], help='default: %(default)s')
    parser.add_argument('--batch', default=default['batch_size'], help='default: %(default)s')
    parser.add_argument('--weights', default='', help='A.caffemodel[,B.caffemodel]: where the '
                        'weights start; {fold} and {seed} in it are those of the run')
    parser.add_argument('--gpu', default='', help='ID of the GPU, or none (default: 0 where Caffe can use it)')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help=f'of the network or the solver: {", ".join(tunable)}')
    options = parser.parse_args(arguments)
    folder = runs.from_arguments(options)
    gpu = which_gpu(options.gpu)
    run = dict(
        dataset=options.dataset, variant=options.variant, fold=options.fold, seed=options.seed,
        iterations=runs.number('ITERS', options.iters, 1, 2 ** 31 - 1),
        base_lr=positive('LR', options.base_lr),
        batch=runs.number('BATCH', options.batch, 1, 2 ** 20), device='CPU' if gpu is None else 'GPU',
        weights=[path.replace('{fold}', str(options.fold)).replace('{seed}', str(options.seed))
                 for path in options.weights.split(',') if path],
        settings=dict(setting(text, tunable) for text in options.set),
        command=shlex.join(['python3', '-m', 'tools.train', *arguments]),
        versions=dict(caffe=caffe.__version__, python=platform.python_version(), numpy=np.__version__),
        crop=forward.ALIGNMENT, code=commit())
    run.update(data(run))
    if run['settings'].get('pixel_scale') == 'relative':
        run['change'] = mean_change(runs.fold_data(run) / 'train_lmdb')
    return folder, run, gpu


def positive(name, text):
    """`text` as a float above 0; SystemExit, naming it, for any other."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise SystemExit(f'{name} must be a number above 0, not {text!r}.')
    return found


def setting(text, tunable):
    """(name, value) of NAME=VALUE, NAME one of `tunable`; the value is read as JSON, else it is the text."""
    name, equals, value = text.partition('=')
    if not equals or name not in tunable:
        raise SystemExit(f'{text!r} is no setting: give NAME=VALUE, NAME one of {", ".join(tunable)}.')
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def data(run):
    """{classes, n_train, n_test, counts: training images a class, data: a hash of the fold's rows}; SystemExit if they are
    no good."""
    again = f'run `make data DATASET={run["dataset"]}`'
    parts = {part: runs.fold_data(run) / f'{part}_lmdb' for part in ('train', 'test')}
    try:
        classes = Path('data', run['dataset'], 'classes.txt').read_text(encoding='utf-8').splitlines()
        rows = b''.join((runs.fold_data(run) / f'{part}.csv').read_bytes() for part in parts)
    except OSError as error:
        raise SystemExit(f'{error.filename} cannot be read ({error.strerror}): {again} again.') from None
    found = dict(classes=classes, data=hashlib.sha256(rows).hexdigest())
    for part, path in parts.items():
        labels = [label for *_, label in lmdb_writer.read(str(path))]
        if not labels or max(labels) >= len(classes):
            raise SystemExit(f'{path} holds {len(labels)} records, labels up to {max(labels, default=None)}, '
                             f'for {len(classes)} classes: {again} again.')
        found[f'n_{part}'] = len(labels)
        if part == 'train':
            found['counts'] = np.bincount(labels, minlength=len(classes)).tolist()
    return found


def mean_change(path):
    """Gen,r of a generator that copies X: half the sum of squared differences in the middle, values in [0, 1], mean over
    the pairs of an LMDB that have a reference other than X itself; 0 where there is none."""
    changes = []
    for _, query, reference, _ in lmdb_writer.read(str(path)):
        if reference.any() and (query != reference).any():
            x, x_r = forward.centre(np.stack([query, reference]))
            changes.append(float(((x - x_r) ** 2).sum() / 2))
    return round(sum(changes) / max(1, len(changes)), 3)


def which_gpu(text):
    """ID of the GPU that `text` asks for, None for the CPU: `none`, a number, or '' for 0 where Caffe can use it.

    SystemExit for a GPU that Caffe cannot use.
    """
    if text == 'none' or not text and why_no_gpu(0):
        return None
    gpu = runs.number('GPU', text or '0', 0, 1023)
    if why_no_gpu(gpu):
        raise SystemExit(f'GPU {gpu} cannot be used ({why_no_gpu(gpu)}): GPU=none trains on the CPU.')
    return gpu


@functools.lru_cache(maxsize=None)
def why_no_gpu(gpu):
    """Why Caffe cannot use that GPU, None where it can."""
    query = subprocess.run(['caffe', 'device_query', '-gpu', str(gpu)], env=environment(),
                           stderr=subprocess.PIPE, encoding='utf-8', errors='replace')
    return query.returncode and (caffe_log.reason(query.stderr.splitlines()) or f'exit code {query.returncode}') or None


def check_weights(paths, network):
    """SystemExit where a weights file is missing, damaged, or of another net than the text `network`."""
    try:
        models = [(path, runs.parse(path, caffe_pb2.NetParameter())) for path in paths]
        shapes = blob_shapes(network)
        for path, model in models:
            runs.check_fit(path, model, shapes)
    except ValueError as error:
        raise SystemExit(f'WEIGHTS: {error}.') from None


def blob_shapes(network):
    """{layer: [shape of each blob]} of a network's text; SystemExit, saying why, if Caffe cannot make it."""
    with tempfile.NamedTemporaryFile('w', suffix='.prototxt') as file:
        file.write(network)
        file.flush()
        made = subprocess.run([sys.executable, '-c', SHAPES, file.name], env=environment(level=2),
                              capture_output=True, encoding='utf-8', errors='replace')
    if made.returncode:
        why = caffe_log.reason(made.stderr.splitlines()) or f'exit code {made.returncode}'
        raise SystemExit(f'Caffe cannot make this network: {why}.')
    return json.loads(made.stdout)


def environment(level=0):
    """The environment of a `caffe` process: layers are found from the checkout, the log goes to stderr."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, ['.', os.environ.get('PYTHONPATH')])),
                GLOG_logtostderr='1', GLOG_minloglevel=str(level))


def commit():
    """The checkout's git commit, `-dirty` after it where files were changed; None without git."""
    try:
        return subprocess.check_output(['git', 'describe', '--always', '--dirty', '--abbrev=40'],
                                       encoding='utf-8', stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None
