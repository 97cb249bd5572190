"""What a command line of tools.train asks for, checked before Caffe starts."""
import argparse
import functools
import inspect
import os
import platform
import shlex
import subprocess

import caffe
import numpy as np
from caffe.proto import caffe_pb2

from data_prep import pair_lmdb
from prototxt import net
from tools.core import arguments, caffe_process, fold_data, gpu, network, snapshots

# Arguments of net.solver that --set may give; the others have options of their own, or are fixed.
SOLVER_SETTINGS = ('gamma', 'power', 'policy')
FROM_DATA = ('neutral', 'score_offsets', 'people')  # tools.train fills them in


def read_request(words):
    """(folder, dict for run.json, GPU's ID or None) of a training command.

    SystemExit if it cannot be run.
    """
    # Said once, where the functions are: net.train_val and net.solver.
    default = {name: parameter.default for function in (net.train_val, net.solver)
               for name, parameter in inspect.signature(function).parameters.items()}
    tunable = [name for name in (*net.SETTINGS, *SOLVER_SETTINGS, 'balance')
               if name not in FROM_DATA]
    parser = argparse.ArgumentParser(prog='python3 -m tools.train',
                                     description='Train a variant on a fold.')
    arguments.add_run_options(parser)
    parser.add_argument('--iters', default=default['max_iter'], help='default: %(default)s')
    parser.add_argument('--base-lr', default=default['base_lr'], help='default: %(default)s')
    parser.add_argument('--batch', default=default['batch_size'], help='default: %(default)s')
    parser.add_argument('--weights', default='', help='A.caffemodel[,B.caffemodel]: where the '
                        'weights start; {fold} and {seed} in it are those of the run')
    parser.add_argument('--gpu', default='',
                        help='ID of the GPU, or none (default: 0 where Caffe can use it)')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='of the network or the solver, several with spaces between: '
                        f'{", ".join(tunable)}')
    options = parser.parse_args(words)

    folder = arguments.named_folder(options)
    gpu_id = gpu.which(options.gpu)
    place = {'{fold}': str(options.fold), '{seed}': str(options.seed)}
    run = dict(
        dataset=options.dataset, variant=options.variant, fold=options.fold, seed=options.seed,
        iterations=arguments.whole_number('ITERS', options.iters, 1, 2 ** 31 - 1),
        base_lr=arguments.positive_number('LR', options.base_lr),
        batch=arguments.whole_number('BATCH', options.batch, 1, 2 ** 20),
        device='CPU' if gpu_id is None else 'GPU',
        weights=[filled(path, place) for path in options.weights.split(',') if path],
        settings=dict(arguments.named_setting(word, tunable)
                      for text in options.set for word in text.split()),
        command=command_line('tools.train', words),
        versions=dict(caffe=caffe.__version__, python=platform.python_version(),
                      numpy=np.__version__),
        crop=network.ALIGNMENT, code=commit())
    run['weights_sha256'] = [sum_of(path) for path in run['weights']]

    # Last, since it reads the whole fold.
    run.update(fold_data.fingerprint(run['dataset'], run['fold']))
    if run['settings'].get('pixel_scale') == 'relative':
        root = fold_data.fold_path(run['dataset'], run['fold'])
        run['change'] = fold_data.mean_change(root / 'train_lmdb')
    return folder, run, gpu_id


def command_line(program, words):
    """The command that was given to one of our programs, for its run.json."""
    return shlex.join(['python3', '-m', program, *words])


def filled(text, values):
    """The text with each of the names in it, such as {fold}, replaced by its value."""
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def sum_of(path):
    """The SHA-256 of a file of weights, '' where it cannot be read."""
    try:
        stamp = os.stat(path)
        return kept_sum(path, stamp.st_mtime_ns, stamp.st_size) if os.path.isfile(path) else ''
    except OSError:  # whoever trains from it will say so
        return ''


@functools.lru_cache(maxsize=None)
def kept_sum(path, *stamp):  # a sweep asks for one file many times
    return pair_lmdb.checksum(path)


def other_start(earlier, run):
    """Whether a run began with other weights than the same files hold now, of those that are there
    and whose checksum it kept."""
    return any(before != now for before, now in zip(earlier.get('weights_sha256', []),
                                                    run['weights_sha256']) if before and now)


def check_weights(paths, text):
    """SystemExit where a weights file is missing, damaged, or of another net than this text."""
    try:
        # The files first: making the network takes longer.
        models = [(path, snapshots.parse(path, caffe_pb2.NetParameter())) for path in paths]
        shapes = caffe_process.blob_shapes(text)
        for path, model in models:
            snapshots.check_fit(path, model, shapes)
    except ValueError as error:
        raise SystemExit(f'WEIGHTS: {error}.') from None


def commit():
    """The checkout's git commit, `-dirty` after it where files were changed; None without git."""
    try:
        return subprocess.check_output(['git', 'describe', '--always', '--dirty', '--abbrev=40'],
                                       encoding='utf-8', stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None
