"""The LMDB and the CSV of one part (train or test) of a fold: Caffe Datums, 2 x 66 x 66 uint8 (X,
Xr), label = class index; the CSV has the same rows in key order, so that every prediction can be
traced to its frame. Beside data.mdb lies data.sha256, as `sha256sum -c` reads it: Caffe and LMDB
have no checksum of their own, and give a picture with a flipped bit without a word."""
import csv
import hashlib
import itertools
import os

import lmdb
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from data_prep import spreadsheet
from data_prep.align import SIZE

COLUMNS = ['key', 'subject', 'sequence', 'frame', 'label', 'expression', 'path']
BATCH = 1000  # records a transaction: bounds the memory
DATA, CHECKSUM = 'data.mdb', 'data.sha256'


def write_pairs(path, rows, classes, crop_of):
    """Writes rows, in their order, to the LMDB `<path>_lmdb` and to `<path>.csv`, both new.

    rows as from ckplus.read_set, `reference` None where there is none (Xr is then 0); classes:
    names, label = index; crop_of: a function from the path of a picture to its crop, 66 x 66 uint8.
    Call it in a folder that is renamed when complete. The same rows give the same keys and values.
    """
    # Room for every record in whole pages, twice. It is address space: the file grows only as it is
    # filled.
    room = 2 ** 24 + len(rows) * 2 * (2 * SIZE * SIZE + 2 * 4096)
    label_of = {name: label for label, name in enumerate(classes)}
    folder = f'{path}_lmdb'

    # No lock file: nobody else is there yet, and it is mapped memory, which on a full disk kills
    # the process.
    with lmdb.open(folder, map_size=room, sync=False, lock=False) as env, \
            open(f'{path}.csv', 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator='\n')
        table.writeheader()
        for start in range(0, len(rows), BATCH):
            with env.begin(write=True) as txn:
                for position, row in enumerate(rows[start:start + BATCH], start):
                    key = f'{position:08d}_{row["subject"]}_{row["sequence"]}_{row["frame"]}'
                    label = label_of[row['expression']]
                    txn.put(key.encode(), encode(row, label, crop_of), append=True)
                    cells = {**row, 'key': key, 'label': label}
                    table.writerow({name: spreadsheet.quote(cells[name]) for name in COLUMNS})

    with open(os.path.join(folder, CHECKSUM), 'w', encoding='ascii') as file:
        file.write(f'{checksum(os.path.join(folder, DATA))}  {DATA}\n')


def encode(row, label, crop_of):
    """The Datum of a row, as bytes."""
    query = crop_of(row['path'])
    blank = row['reference'] is None
    reference = np.zeros_like(query) if blank else crop_of(row['reference'])
    data = np.stack([query, reference]).tobytes()
    datum = caffe_pb2.Datum(channels=2, height=SIZE, width=SIZE, label=label, data=data)
    return datum.SerializeToString()


def write_job(job):
    """write_pairs() of a tuple of its arguments, for workers.run."""
    write_pairs(*job)


def checksum(path):
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(2 ** 20), b''):
            digest.update(block)
    return digest.hexdigest()


def verify(path):
    """SystemExit where the LMDB at path is missing, cut short, or not as it was built, by its
    checksum; one of a build that wrote none passes. It reads the whole file, 0.1 s for 100 MB, so
    call it once a training or test, before the data is used."""
    data, beside = os.path.join(path, DATA), os.path.join(path, CHECKSUM)
    # Before LMDB opens it: its own tree of pages may be what is damaged.
    if os.path.isfile(data) and os.path.isfile(beside):
        with open(beside, encoding='ascii', errors='replace') as file:
            expected = file.read().split()
        if expected[:1] != [checksum(data)]:
            raise SystemExit(damaged(path, 'its content is not what was built, by its checksum'))
    count_pairs(path)


def count_pairs(path):
    """Number of records of the LMDB at path; SystemExit where it is missing or damaged.

    LMDB maps its file into memory, and touching a page beyond the end of a file cut short kills the
    process: so the size is compared with the last page that LMDB says it uses, before anything is
    read.
    """
    data = os.path.join(path, DATA)
    if not os.path.isfile(data):
        raise SystemExit(f'{path} is missing: run `make data` first.')
    try:
        with lmdb.open(str(path), readonly=True, lock=False) as env:
            needed = (env.info()['last_pgno'] + 1) * env.stat()['psize']
            entries = env.stat()['entries']
    except lmdb.Error as error:
        raise SystemExit(damaged(path, error)) from None
    if os.path.getsize(data) < needed:
        raise SystemExit(damaged(path, f'{os.path.getsize(data)} bytes of {needed}'))
    return entries


def read_pairs(path):
    """Yields (key, query, reference, label) in key order: key str, pictures 66 x 66 uint8.

    SystemExit where the LMDB is missing or damaged, before the first record where its file was cut
    short.
    """
    count_pairs(path)
    shape = (2, SIZE, SIZE)
    try:
        with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as txn:
            for key, value in txn.cursor():
                datum = caffe_pb2.Datum.FromString(value)
                pair = np.frombuffer(datum.data, np.uint8)
                own = (datum.channels, datum.height, datum.width)
                if own != shape or pair.size != np.prod(shape):
                    name = key.decode(errors='replace')
                    raise SystemExit(damaged(
                        path, f'record {name} is no pair of {SIZE} x {SIZE} pictures'))
                query, reference = pair.reshape(shape)
                yield key.decode(), query, reference, datum.label
    except (lmdb.Error, DecodeError, UnicodeDecodeError) as error:
        raise SystemExit(damaged(path, error)) from None


def read_listed(path):
    """Yields (row of `<path>.csv`, (key, X, Xr, label) of `<path>_lmdb`), the latter as read_pairs.

    SystemExit where the two are not of one build, or cannot be read.
    """
    rows, pairs = spreadsheet.read_csv(f'{path}.csv'), read_pairs(f'{path}_lmdb')
    for row, pair in itertools.zip_longest(rows, pairs):
        if row is None or pair is None or row.get('key') != pair[0]:
            raise SystemExit(f'{path}.csv and {os.path.basename(path)}_lmdb hold different rows: '
                             'run `make data` again.')
        yield row, pair


def damaged(path, what):
    """The sentence for an LMDB that cannot be read."""
    return f'{path} is damaged ({what}): run `make data` again.'
