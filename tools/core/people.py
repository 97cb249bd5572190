"""Who is on the training pairs of a fold, for networks that tell people apart: an LMDB of labels
beside the pairs, made where it is first asked for."""
import collections
import os
import shutil
import tempfile

import lmdb
from caffe.proto import caffe_pb2

from data_prep import datasets, pair_lmdb, spreadsheet
from prototxt.neighbours import NOBODY
from tools.core import fold_data

STILL = 'VARIANT=disentangled needs no people, and degan none with SET=identity_weight=0'


def write_people(dataset, fold):
    """Writes data/<dataset>/fold<F>/people_lmdb and gives back how many people it tells apart.

    It has a record a training pair, in their order, whose label is the person: a number from 0 on,
    by their sorted names; NOBODY for one with a single picture, whom nothing could be learned of.
    SystemExit where fewer than two people have two pictures.
    """
    root = fold_data.fold_path(dataset, fold)
    if not datasets.knows_people(dataset):
        raise SystemExit(f'{dataset} does not say who is on its pictures, so that nobody can be '
                         f'told apart: {STILL}.')
    rows = spreadsheet.read_csv(root / 'train.csv')
    # A joined set has the same picture several times.
    count = collections.Counter(subject for subject, _ in
                                {(row['subject'], row['path']) for row in rows})
    label_of = {name: label for label, name in enumerate(sorted(
        name for name in count if count[name] > 1))}
    if len(label_of) < 2:
        raise SystemExit(f'{root}/train.csv has {len(label_of)} people with two pictures or more, '
                         f'and 2 are needed to tell them apart: {STILL}.')

    place = root / 'people_lmdb'
    labels = [(row['key'], label_of.get(row['subject'], NOBODY)) for row in rows]
    if (not place.is_dir() or pair_lmdb.count_pairs(place) != len(labels)
            or read(place) != labels):
        replace(place, labels)
    return len(label_of)


def read(place):
    """The [(key, label)] of an LMDB that write_people wrote."""
    with lmdb.open(str(place), readonly=True, lock=False) as env, env.begin() as txn:
        return [(key.decode(), caffe_pb2.Datum.FromString(value).label)
                for key, value in txn.cursor()]


def replace(place, labels):
    """Writes [(key, label)] as an LMDB, complete or not at all."""
    with tempfile.TemporaryDirectory(prefix='.people', dir=place.parent) as folder:
        made = os.path.join(folder, place.name)
        with lmdb.open(made, map_size=2 ** 24 + len(labels) * 1024, sync=False, lock=False) as env:
            with env.begin(write=True) as txn:
                for key, label in labels:
                    datum = caffe_pb2.Datum(channels=1, height=1, width=1, label=label,
                                            data=b'\0')
                    txn.put(key.encode(), datum.SerializeToString(), append=True)
            env.sync(True)
        shutil.rmtree(place, ignore_errors=True)
        try:
            os.rename(made, place)
        except OSError:  # another run of this fold was first, with the same
            if pair_lmdb.count_pairs(place) != len(labels):
                raise
