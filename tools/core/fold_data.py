"""The data of a fold, as `make data` built it."""
import functools
import hashlib
from pathlib import Path

import numpy as np

from data_prep import pair_lmdb, spreadsheet
from tools.core import network

# Of what fingerprint gives: two builds of a fold are the same where all of these are.
IDENTITY = ('classes', 'n_train', 'n_test', 'data', 'pictures')
FOLLOWING = ('counts', 'referred')  # the rest of it


def fold_path(dataset, fold):
    """The folder of the LMDBs and CSVs that a run on that fold trains and is tested on."""
    return Path('data', dataset, f'fold{fold}')


def fingerprint(dataset, fold):
    """What tells one build of a fold from another; SystemExit if it is no good.

    {classes, n_train, n_test, counts: training images a class, data: a hash of the fold's rows,
    pictures: one of its pairs and their labels, referred: training images with a reference}. It
    reads the fold twice, two seconds for 30,000 pairs, and again only where a file has changed: a
    report asks for every run of a fold, a sweep for every seed.
    """
    root = fold_path(dataset, fold).resolve()
    files = sorted(path for path in [root.parent / 'classes.txt', *root.rglob('*')]
                   if path.is_file())
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return dict(read_fingerprint(dataset, fold, stamps))


@functools.lru_cache(maxsize=None)
def read_fingerprint(dataset, fold, stamps):
    """fingerprint() of files with these stamps, which are there for the cache alone."""
    root, again = fold_path(dataset, fold), f'run `make data DATASET={dataset}`'
    parts = ('train', 'test')
    try:
        classes = Path('data', dataset, 'classes.txt').read_text(encoding='utf-8').splitlines()
        rows = b''.join((root / f'{part}.csv').read_bytes() for part in parts)
    except (OSError, UnicodeDecodeError) as error:
        name = getattr(error, 'filename', None) or f'data/{dataset}/classes.txt'
        reason = getattr(error, 'strerror', None) or error
        raise SystemExit(f'{name} cannot be read ({reason}): {again} again.') from None

    # The rows tell which frames these are; the pictures, how they were cropped.
    facts = dict(classes=classes, data=hashlib.sha256(rows).hexdigest())
    pictures, referred = hashlib.sha256(), 0
    for part in parts:
        path, labels = root / f'{part}_lmdb', []
        pair_lmdb.verify(str(path))
        for key, query, reference, label in pair_lmdb.read_pairs(str(path)):
            # In the order of the keys, which is that of training: another order is another run.
            pictures.update(f'{part} {key} {label} '.encode())
            pictures.update(query.tobytes() + reference.tobytes())
            labels.append(label)
            referred += part == 'train' and bool(reference.any())
        if not labels or max(labels) >= len(classes):
            raise SystemExit(
                f'{path} holds {len(labels)} records, labels up to {max(labels, default=None)}, '
                f'for {len(classes)} classes: {again} again.')
        facts[f'n_{part}'] = len(labels)
        if part == 'train':
            facts['counts'] = np.bincount(labels, minlength=len(classes)).tolist()
    return {**facts, 'pictures': pictures.hexdigest(), 'referred': referred}


def differences(run, present):
    """The names of IDENTITY in which the settings of a run differ from what fingerprint gives now.
    A run of before `pictures` was kept is compared in the others."""
    return [name for name in IDENTITY
            if run.get(name) != present[name] and (name in run or name != 'pictures')]


def in_both_parts(dataset):
    """The subjects in training and test of one fold, of a data set that is built here, sorted."""
    both = set()
    for fold in Path('data', dataset).glob('fold[0-9]'):
        lists = [fold / f'{part}.csv' for part in ('train', 'test')]
        if all(path.is_file() for path in lists):
            train, test = ({row['subject'] for row in spreadsheet.read_csv(path)} for path in lists)
            both |= train & test
    return sorted(both)


def mean_change(path):
    """Gen,r of a generator that copies X: half the sum of squared differences in the middle, values
    in [0, 1], mean over the pairs of an LMDB that have a reference other than X itself; 0 where
    there is none."""
    changes = []
    for _, query, reference, _ in pair_lmdb.read_pairs(str(path)):
        # A neutral frame that is its own reference has no change, whatever draws it.
        if reference.any() and (query != reference).any():
            x, x_r = network.centre(np.stack([query, reference]))
            changes.append(float(((x - x_r) ** 2).sum() / 2))
    return round(sum(changes) / max(1, len(changes)), 3)


def read_part(dataset, fold, part):
    """A part of a fold: its CSV rows, queries, references, and labels (N).

    part: train or test. Queries and references are N x 1 x 64 x 64 in [0, 1].
    """
    root = fold_path(dataset, fold)
    rows, pairs = zip(*pair_lmdb.read_listed(root / part))
    _, queries, references, labels = zip(*pairs)
    return (list(rows), network.centre(np.array(queries)), network.centre(np.array(references)),
            np.array(labels))
