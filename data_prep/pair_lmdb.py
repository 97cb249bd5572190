"""The LMDB and the CSV of one part (train or test) of a fold: Caffe Datums, 2 x 66 x 66 uint8 (X,
Xr), label = class index; the CSV has the same rows in key order, so that every prediction can be
traced to its frame."""
import csv
import os

import lmdb
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from data_prep.align import SIZE

COLUMNS = ['key', 'subject', 'sequence', 'frame', 'label', 'expression', 'path']
BATCH = 1000  # records a transaction: bounds the memory


def write(path, rows, classes, crop_of):
    """Writes rows, in their order, to the LMDB `<path>_lmdb` and to `<path>.csv`; neither may
    exist.

    rows as from ckplus.read, `reference` None where there is none (Xr is then 0); classes: names,
    label = index; crop_of: a function from the path of a picture to its crop, 66 x 66 uint8. Call
    it in a folder that is renamed when complete. The same rows give the same keys and values.
    """
    # Room for every record in whole pages, twice. It is address space: the file grows only as it is
    # filled.
    room = 2 ** 24 + len(rows) * 2 * (2 * SIZE * SIZE + 2 * 4096)
    label_of = {name: label for label, name in enumerate(classes)}
    # No lock file: nobody else is there yet, and it is mapped memory, which on a full disk kills
    # the process.
    with lmdb.open(f'{path}_lmdb', map_size=room, sync=False, lock=False) as env, \
            open(f'{path}.csv', 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction='ignore', lineterminator='\n')
        table.writeheader()
        for start in range(0, len(rows), BATCH):
            with env.begin(write=True) as txn:
                for position, row in enumerate(rows[start:start + BATCH], start):
                    key = f'{position:08d}_{row["subject"]}_{row["sequence"]}_{row["frame"]}'
                    label = label_of[row['expression']]
                    query = crop_of(row['path'])
                    reference = np.zeros_like(query) if row['reference'] is None else crop_of(
                        row['reference'])
                    pair = np.stack([query, reference])
                    datum = caffe_pb2.Datum(channels=2, height=SIZE, width=SIZE, label=label,
                                            data=pair.tobytes())
                    txn.put(key.encode(), datum.SerializeToString(), append=True)
                    table.writerow({**row, 'key': key, 'label': label})


def write_job(job):
    """write() of a tuple of its arguments, for workers.run."""
    write(*job)


def check(path):
    """Number of records of the LMDB at path; SystemExit where it is missing or damaged.

    LMDB maps its file into memory, and touching a page beyond the end of a file cut short kills the
    process: so the size is compared with the last page that LMDB says it uses, before anything is
    read.
    """
    data = os.path.join(path, 'data.mdb')
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


def read(path):
    """Yields (key, query, reference, label) of each record in key order: key str, pictures 66 x 66
    uint8.

    SystemExit where the LMDB is missing or damaged, before the first record where its file was cut
    short.
    """
    check(path)
    try:
        with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as txn:
            for key, value in txn.cursor():
                datum = caffe_pb2.Datum.FromString(value)
                pair = np.frombuffer(datum.data, np.uint8)
                if (datum.channels, datum.height, datum.width, pair.size) != (2, SIZE, SIZE,
                                                                              2 * SIZE * SIZE):
                    raise SystemExit(
                        damaged(
                            path, f'record {key.decode(errors="replace")} is no pair of '
                            f'{SIZE} x {SIZE} pictures'))
                query, reference = pair.reshape(2, SIZE, SIZE)
                yield key.decode(), query, reference, datum.label
    except (lmdb.Error, DecodeError, UnicodeDecodeError) as error:
        raise SystemExit(damaged(path, error)) from None


def damaged(path, what):
    """The sentence for an LMDB that cannot be read."""
    return f'{path} is damaged ({what}): run `make data` again.'
