"""The data of a fold, as `make data` built it."""
import csv
import hashlib
from pathlib import Path

import numpy as np

from data_prep import pair_lmdb
from tools.core import fold_data, network


def folder(run):
    """The folder of the LMDBs and CSVs that a run (as from read) trains and is tested on."""
    return Path('data', run['dataset'], f'fold{run["fold"]}')


def fingerprint(run):
    """{classes, n_train, n_test, counts: training images a class, data: a hash of the fold's rows};
    SystemExit if they are no good."""
    again = f'run `make data DATASET={run["dataset"]}`'
    parts = {part: fold_data.folder(run) / f'{part}_lmdb' for part in ('train', 'test')}
    try:
        classes = Path('data', run['dataset'],
                       'classes.txt').read_text(encoding='utf-8').splitlines()
        rows = b''.join((fold_data.folder(run) / f'{part}.csv').read_bytes() for part in parts)
    except OSError as error:
        raise SystemExit(
            f'{error.filename} cannot be read ({error.strerror}): {again} again.') from None
    found = dict(classes=classes, data=hashlib.sha256(rows).hexdigest())
    for part, path in parts.items():
        labels = [label for *_, label in pair_lmdb.read(str(path))]
        if not labels or max(labels) >= len(classes):
            raise SystemExit(
                f'{path} holds {len(labels)} records, labels up to {max(labels, default=None)}, '
                f'for {len(classes)} classes: {again} again.')
        found[f'n_{part}'] = len(labels)
        if part == 'train':
            found['counts'] = np.bincount(labels, minlength=len(classes)).tolist()
    return found


def mean_change(path):
    """Gen,r of a generator that copies X: half the sum of squared differences in the middle, values
    in [0, 1], mean over the pairs of an LMDB that have a reference other than X itself; 0 where
    there is none."""
    changes = []
    for _, query, reference, _ in pair_lmdb.read(str(path)):
        if reference.any() and (query != reference).any():
            x, x_r = network.centre(np.stack([query, reference]))
            changes.append(float(((x - x_r) ** 2).sum() / 2))
    return round(sum(changes) / max(1, len(changes)), 3)


def read_part(run, part):
    """The train or test part of a fold: its CSV rows, queries and references (N x 1 x 64 x 64 in
    [0, 1]), labels (N)."""
    fold = fold_data.folder(run)
    keys, queries, references, labels = zip(*pair_lmdb.read(fold / f'{part}_lmdb'))
    with open(fold / f'{part}.csv', newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    if [row['key'] for row in rows] != list(keys):
        raise SystemExit(
            f'{fold}/{part}.csv and {part}_lmdb hold different rows: run `make data` again.')
    return rows, network.centre(np.array(queries)), network.centre(
        np.array(references)), np.array(labels)
