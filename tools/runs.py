"""Where a training run is, and what it holds: runs/<dataset>/<variant>/fold<F>_seed<S>/."""
import collections
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from data_prep.folds import FOLDS
from prototxt import net

Snapshot = collections.namedtuple('Snapshot', 'iteration caffemodel solverstate')


def folder(dataset, variant, fold, seed):
    """The folder of a run, as a Path relative to the checkout."""
    return Path('runs', dataset, variant, f'fold{fold}_seed{seed}')


def add_arguments(parser):
    """Adds to an argparse parser what names a run; for from_arguments."""
    parser.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    parser.add_argument('--variant', default='s1r1', help=f'{", ".join(net.VARIANTS + net.PRETRAINED)} (default: s1r1)')
    parser.add_argument('--fold', default=0, help=f'the fold to test on, 0 to {FOLDS - 1} (default: 0)')
    parser.add_argument('--seed', default=1, help='of the weights and the augmentation (default: 1)')


def from_arguments(options):
    """The folder of the run that the arguments name; makes fold and seed int. SystemExit if there is none."""
    variants = net.VARIANTS + net.PRETRAINED
    if options.variant not in variants:
        raise SystemExit(f'There is no variant {options.variant!r}: VARIANT is one of {", ".join(variants)}.')
    options.fold = number('FOLD', options.fold, 0, FOLDS - 1)
    options.seed = number('SEED', options.seed, 0, 2 ** 31 - 1)
    if not Path('data', options.dataset, 'classes.txt').is_file():
        raise SystemExit(f'data/{options.dataset} is not built: run `make data DATASET={options.dataset}`.')
    return folder(options.dataset, options.variant, options.fold, options.seed)


def folds(dataset, text):
    """The folds that `text` names ("0 1 2", "0-4", "0-2,7"), all for ''; SystemExit for one not built."""
    built = sorted(int(path.name[4:]) for path in Path('data', dataset).glob('fold[0-9]'))
    asked = []
    for word in text.replace(',', ' ').split():
        first, _, last = word.partition('-')
        low = number('FOLDS', first, 0, FOLDS - 1)
        asked += range(low, number('FOLDS', last or first, low, FOLDS - 1) + 1)
    unknown = set(asked) - set(built)
    if built and unknown:
        raise SystemExit(f'data/{dataset} has no fold {min(unknown)}: '
                         f'FOLDS can be {" ".join(map(str, built))}.')
    return asked or built or [0]  # where none is built, request.read says so


def number(name, text, low, high):
    """`text` as a whole number from low to high; SystemExit, naming it, for any other."""
    try:
        found = int(text)
    except ValueError:
        found = None
    if found is None or not low <= found <= high:
        raise SystemExit(f'{name} must be a whole number from {low} to {high}, not {text!r}.')
    return found


def fold_data(run):
    """The folder of the LMDBs and CSVs that a run (as from read) trains and is tested on."""
    return Path('data', run['dataset'], f'fold{run["fold"]}')


def write(path, content):
    """Writes a file, of text or of bytes, beside its place and renames it."""
    path = Path(path)
    partial = path.with_name(path.name + '.partial')
    partial.write_bytes(content if isinstance(content, bytes) else content.encode('utf-8'))
    partial.replace(path)


def read(run):
    """The settings of a run as a dict: its run.json; SystemExit where it is missing or damaged."""
    path = Path(run, 'run.json')
    try:
        settings = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise SystemExit(f'{path} is missing: train this run first (`make train`).') from None
    except (OSError, ValueError) as error:
        raise SystemExit(f'{path} cannot be read ({error}): remove {run} and train again.') from None
    if not isinstance(settings, dict):
        raise SystemExit(f'{path} holds no settings: remove {run} and train again.')
    return settings


def offsets(run):
    """What is added to the scores in Cls, a number a class, where run['settings'] has `balance` b: of a class with n_c of
    n training images b log(n_c / n) (layers/adjust.py). With b = 1 the loss asks for the mean of the classes' recalls, with
    0 for the share of all images. SystemExit for a b that is no number from 0 to 1."""
    balance = run['settings']['balance']
    if isinstance(balance, bool) or not isinstance(balance, (int, float)) or not 0 <= balance <= 1:
        raise SystemExit(f'balance must be a number from 0 to 1, not {balance!r}.')
    counts = np.maximum(run['counts'], 1)  # a class without images has no logarithm, and no part in the loss
    return np.round(balance * np.log(counts / sum(run['counts'])), 4).tolist()


def with_frequencies(run, probabilities):
    """Probabilities, N x K, of a run, with what its `balance` took out of them: the frequencies of the classes in training, so
    that the most probable class is meant for accuracy. The same where it took nothing; SystemExit where run.json is no good."""
    settings, counts = run.get('settings', {}), run.get('counts')
    if isinstance(settings, dict) and not settings.get('balance', 0):
        return probabilities
    if not (isinstance(settings, dict) and isinstance(counts, list) and len(counts) == probabilities.shape[1]
            and all(type(n) is int and n >= 0 for n in counts) and sum(counts)):
        raise SystemExit(f'The run.json of {run.get("variant")}, fold {run.get("fold")}, does not say how many training images '
                         'each class had (`counts`): train again.')
    weighted = probabilities * np.exp(offsets(run))
    return weighted / weighted.sum(1, keepdims=True)


def snapshots(run):
    """The Snapshots of a run in ascending order, damaged ones too."""
    found = []
    for model in Path(run, 'snapshots').glob('*_iter_*.caffemodel'):
        name = re.search(r'_iter_(\d+)$', model.stem)
        if name:
            found.append(Snapshot(int(name.group(1)), model, model.with_suffix('.solverstate')))
    return sorted(found)


def last_snapshot(run):
    """The last whole Snapshot of a run (iteration and two paths), or None.

    A damaged one is passed over, with a sentence on stderr.
    """
    for snapshot in reversed(snapshots(run)):
        try:
            check(snapshot)
        except ValueError as error:
            print(f'{error}: passed over.', file=sys.stderr)
        else:
            return snapshot
    return None


def check(snapshot):
    """Raises ValueError, with the reason, for a snapshot that is not whole or holds nan or inf."""
    iteration, caffemodel, solverstate = snapshot
    model = parse(caffemodel, caffe_pb2.NetParameter())
    state = parse(solverstate, caffe_pb2.SolverState())
    # The solver keeps one history a learned blob, one for all layers that share it by name: their number
    # finds a file cut short at the seam between two messages.
    learned = {layer.param[i].name if i < len(layer.param) and layer.param[i].name else (layer.name, i)
               for layer in model.layer for i in range(len(layer.blobs))}
    if not learned or len(state.history) != len(learned) or state.iter != iteration:
        raise ValueError(f'{caffemodel} and its solverstate do not fit together or are cut short')
    if not all(math.isfinite(sum(blob.data)) for layer in model.layer for blob in layer.blobs):
        raise ValueError(f'{caffemodel} holds weights that are not finite')


def check_fit(path, model, shapes):
    """Raises ValueError, naming `path`, where a parsed NetParameter is not of the net with these blob shapes.

    shapes: {layer: [shape of each blob, a list]}. Caffe loads by layer name, and layers may be missing on either side.
    """
    common = [layer for layer in model.layer if layer.blobs and layer.name in shapes]
    if not common:
        raise ValueError(f'{path} is of another net: no layer with weights is in both')
    for layer in common:
        theirs = [list(blob.shape.dim) for blob in layer.blobs]
        if theirs != shapes[layer.name]:
            raise ValueError(f'{path} is of another net: layer {layer.name} is {theirs}, here {shapes[layer.name]}')


def parse(path, message):
    """Reads a protobuf file of Caffe into `message` and returns it; ValueError, naming it, if it cannot."""
    try:
        message.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror})') from None
    except DecodeError:
        raise ValueError(f'{path} is damaged or no file of Caffe') from None
    return message
