"""Builds a data set: pairs, 66 x 66 crops, ten folds, an LMDB and a CSV for the train and test part
of each.

    python3 -m data_prep.build --dataset demo --raw data/raw/demo

writes data/demo/{classes.txt,account.csv,folds.csv,fold0..fold9}. All is written in a folder beside
it, which takes its place when it is complete: killed at any moment, the earlier build is whole or
the new one is. What is written does not depend on the number of worker processes.

A set that ships its own split into train and test gets fold0 alone, and no folds.csv; so does a set
whose classes are its people, for pre-training, which is split within each person. Where a set ships
no landmarks, the points that were detected stay in data/<dataset>.points.csv (see detect.py).
"""
import argparse
import collections
import contextlib
import csv
import fcntl
import functools
import os
import shutil
import sys
import tempfile

import lmdb
import numpy as np

from data_prep import align, datasets, detect, folds, pair_lmdb, pictures, workers

NAMED = 20  # sequences left out that are named one by one in the printed account
OPTIONAL = {'several faces': 'several faces, the largest taken',
            'references replaced': 'references not usable, another or none'}


def main():
    parser = argparse.ArgumentParser(description='Build the LMDBs of a data set.')
    parser.add_argument(
        '--dataset', required=True, help=f'{", ".join(sorted(datasets.DATASETS))}, or any name for '
        'a folder with a manifest.csv')
    parser.add_argument('--raw',
                        help='folder of the set as its makers ship it (default: data/raw/DATASET)')
    parser.add_argument('--out', default='data',
                        help='the build goes to OUT/DATASET (default: data)')
    parser.add_argument('--folds',
                        help='a folds.csv to take instead of ascending ID, position mod 10')
    parser.add_argument('--frames', type=int, default=3,
                        help='queries a sequence, from its end (default: 3)')
    parser.add_argument('--seed', type=int, default=1,
                        help='of the order of training records (default: 1)')
    parser.add_argument('--workers', type=int, default=workers.usable(),
                        help='processes (default: one a core)')
    args = parser.parse_args()
    raw = args.raw or os.path.join('data', 'raw', args.dataset)
    classes, _ = datasets.get(args.dataset, raw)
    if args.frames < 1 or args.seed < 0 or args.workers < 1:
        raise SystemExit(
            f'--frames {args.frames} --seed {args.seed} --workers {args.workers}: at least 1 frame, a '
            'seed of 0 or more and 1 worker are needed.')
    if classes is datasets.PEOPLE and args.folds:
        raise SystemExit(f'{args.dataset} is split within each person: FOLDS is not for it.')
    final = os.path.join(args.out, args.dataset)
    try:
        os.makedirs(args.out, exist_ok=True)
        with open(os.path.join(args.out, f'.{args.dataset}.lock'), 'w') as lock:
            wait_for(lock)
            account = build(final, args.dataset, raw, args.folds, args.frames, args.seed,
                            args.workers)
    except (OSError, lmdb.Error) as error:
        raise SystemExit(f'{final} was not built: {error}.') from None
    except KeyboardInterrupt:
        raise SystemExit(f'Interrupted: {final} is as it was before.') from None
    print(account)


def wait_for(lock):
    """Of two builds of one data set the second waits for the first."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('Waiting for another build of this data set.', file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)


def build(final, dataset, raw, folds_file=None, frames=3, seed=1, processes=1):
    """Builds folder `final` from `raw` and returns the account to print; SystemExit where it cannot
    be done.

    An earlier build in `final` is replaced at the very end, or stays as it is.
    """
    classes, _ = datasets.get(dataset, raw)
    place = os.path.realpath(final)
    partial, earlier = place + '.partial', place + '.earlier'
    protect(place, raw)
    recover(place, partial, earlier)
    detected = functools.partial(detect.points_of, raw, cache=f'{place}.points.csv',
                                 workers=processes)
    rows, points, report = datasets.load(dataset, raw, frames, detected)
    failures = {}
    if points is None:
        paths = {path for row in rows for path in (row['reference'], row['path'])} - {None}
        points, failures, report['several faces'] = detected(sorted(paths))
    with cropped(raw, points, os.path.dirname(place), processes) as (crop_of, unreadable):
        failures = {**failures, **unreadable}
        if report['unit'] == 'images':
            rows = mend_references(rows, failures, report)
        rows = leave_out(rows, failures, report)
        try:
            rows, classes, fold_of, splits = split(rows, classes, raw, folds_file, report)
        except SystemExit as error:
            raise SystemExit(f'{tell_left_out(report["left_out"])}{error}') from None
        try:
            write_all(partial, classes, crop_of, fold_of, splits, seed, processes)
            write_account(os.path.join(partial, 'account.csv'), rows, report)
            sync(partial)
            replace(place, partial, earlier)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return tell(final, dataset, rows, classes, report)


def split(rows, classes, raw, folds_file, report):
    """(rows used, class names, {subject: fold} or None, [(train, test)], a fold each) of a set's
    rows; SystemExit where they cannot be split."""
    if not rows:
        raise SystemExit(
            f'Nothing in {raw} can be used: {report["found"]} {report["unit"]}, '
            f'{len(report["unlabelled"])} unlabelled, {len(report["left_out"])} left out.')
    subjects = {row['subject'] for row in rows}
    if classes is datasets.FOUND:
        classes = sorted({row['expression'] for row in rows})
    if 'split' in rows[0]:
        if folds_file:
            raise SystemExit(f'{raw} has its own split into train and test: FOLDS is not for it.')
        return rows, classes, None, folds.split_as_given(rows)
    if classes is datasets.PEOPLE:
        rows = usable_people(rows, report)
        return rows, sorted({row['subject']
                             for row in rows},
                            key=folds.ascending), None, folds.split_within_person(rows)
    fold_of = folds.read_folds(folds_file, subjects) if folds_file else folds.assign(subjects)
    return rows, classes, fold_of, folds.split_by_person(rows, fold_of)


def protect(final, raw):
    """SystemExit where putting a build in place would remove what is no build, the raw data above
    all."""
    inside = os.path.join(os.path.realpath(raw), '').startswith(
        os.path.join(os.path.realpath(final), ''))
    if inside or (os.path.lexists(final)
                  and not os.path.isfile(os.path.join(final, 'fold0', 'train.csv'))):
        raise SystemExit(
            f'{final} holds something else than a build, which a build would replace: move that '
            'away, for instance to data/raw, and name it there.')


def recover(final, partial, earlier):
    """Clears away what a killed build left; an earlier build caught between two renames goes
    back."""
    if os.path.isdir(earlier) and not os.path.isdir(final):
        os.rename(earlier, final)
    shutil.rmtree(earlier, ignore_errors=True)
    shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def cropped(raw, points, folder, processes):
    """Crops each picture once. Gives (a function from a path to its crop, 66 x 66 uint8, {path:
    reason} of those that could not be read). The crops wait in a file without a name, in `folder`,
    so that memory does not grow with them."""
    paths = sorted(points)
    place = {path: number for number, path in enumerate(paths)}
    with tempfile.TemporaryFile(dir=folder, buffering=0) as store:
        jobs = [(raw, path, points[path], store.fileno(), number) for path, number in place.items()]
        reasons = workers.run(crop_into, jobs, processes, desc='faces', unit='face')
        failures = {path: reason for reason, path in zip(reasons, paths) if reason}
        yield functools.partial(read_crop, store.fileno(), place), failures


def crop_into(job):
    """Crops one picture into its place in an open file; returns None, or the reason why it could
    not be done."""
    raw, path, points, store, number = job
    try:
        crop = align.crop(pictures.read_grey(raw, path), points)
    except ValueError as error:
        return str(error)
    if os.pwrite(store, crop.tobytes(), number * align.SIZE ** 2) != align.SIZE ** 2:
        raise OSError('no space left for the crops')
    return None


def read_crop(store, place, path):
    """The crop of the picture `path`, which crop_into has put at its place in an open file."""
    data = os.pread(store, align.SIZE ** 2, place[path] * align.SIZE ** 2)
    return np.frombuffer(data, np.uint8).reshape(align.SIZE, align.SIZE)


def mend_references(rows, failures, report):
    """The rows of a set of single images, in which a reference that cannot be used gives way to the
    person's first neutral image that can, or to None: the query itself is good."""
    neutral = {}
    for row in rows:
        if row['expression'] == 'neutral' and row['path'] not in failures:
            neutral.setdefault(row['subject'], row['path'])
    lost = {id(row) for row in rows if row['reference'] in failures and row['path'] not in failures}
    report['references replaced'] = len(lost)
    return [{**row, 'reference': neutral.get(row['subject'])} if id(row) in lost else row
            for row in rows]


def leave_out(rows, failures, report):
    """The rows of sequences whose pictures could all be read; the others go to
    report['left_out']."""
    reasons = {}
    for row in rows:
        sequence = row['subject'], row['sequence']
        for path in (row['reference'], row['path']):
            if path in failures:  # a set of images names a sequence by its picture
                named = path == '/'.join(sequence)
                reasons.setdefault(sequence,
                                   failures[path] if named else f'{failures[path]}: {path}')
    report['left_out'] += [('/'.join(sequence), reason) for sequence, reason in reasons.items()]
    report['left_out'].sort()
    return [row for row in rows if (row['subject'], row['sequence']) not in reasons]


def usable_people(rows, report):
    """The rows of people who have two pictures or more, to train and test; SystemExit for fewer
    than two such people."""
    count = collections.Counter(row['subject'] for row in rows)
    report['left_out'] += [(person, 'one usable picture, at least 2 needed')
                           for person in count if count[person] == 1]
    report['left_out'].sort()
    rows = [row for row in rows if count[row['subject']] > 1]
    if len({row['subject'] for row in rows}) < 2:
        raise SystemExit(
            'Fewer than two people have two usable pictures each: nobody can be told apart.')
    return rows


def write_all(partial, classes, crop_of, fold_of, splits, seed, processes):
    """Writes a whole build into the new folder `partial`; splits: [(train, test)], a fold each;
    fold_of: the content of folds.csv, or None for none."""
    os.mkdir(partial)
    with open(os.path.join(partial, 'classes.txt'), 'w', encoding='utf-8') as file:
        file.writelines(f'{name}\n' for name in classes)
    if fold_of:
        folds.write_folds(os.path.join(partial, 'folds.csv'), fold_of)
    parts = []
    for fold, (train, test) in enumerate(splits):
        os.mkdir(os.path.join(partial, f'fold{fold}'))
        # Caffe reads in key order, and a batch must not be one person: hence the shuffle.
        order = np.random.RandomState([seed, fold]).permutation(len(train))
        parts += [(os.path.join(partial, f'fold{fold}', 'train'), [train[i] for i in order]),
                  (os.path.join(partial, f'fold{fold}', 'test'), test)]
    jobs = [(*part, classes, crop_of) for part in parts]
    for _ in workers.run(pair_lmdb.write_job, jobs, processes, chunk=1, desc='folds', unit='part'):
        pass


def sync(folder):
    """Writes a folder's content through to the disk."""
    for parent, _, names in os.walk(folder):
        for path in [parent] + [os.path.join(parent, name) for name in names]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def write_account(path, rows, report):
    """Writes the CSV that says of each sequence (or image) whether it was used or left out, and
    why."""
    used = {(row['subject'], row['sequence']) for row in rows}
    with open(path, 'w', newline='', encoding='utf-8') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow([report['unit'], 'outcome', 'reason'])
        table.writerows(('/'.join(name), 'used', '') for name in sorted(used))
        table.writerows((name, 'unlabelled', '') for name in report['unlabelled'])
        table.writerows((name, 'left out', reason) for name, reason in report['left_out'])


def replace(final, partial, earlier):
    """Puts `partial` in the place of `final`; what was there is gone from `final` and may be
    removed."""
    if not os.path.isdir(final):
        os.rename(partial, final)
        return
    os.rename(final, earlier)  # a kill between these two renames is mended by recover()
    os.rename(partial, final)
    shutil.rmtree(earlier, ignore_errors=True)


def tell(final, dataset, rows, classes, report):
    """The account of a build, as text."""
    count = collections.Counter(row['expression'] for row in rows)
    reasons = collections.Counter(reason.split(': ')[0] for _, reason in report['left_out'])
    images = {path for row in rows for path in (row['path'], row['reference'])} - {None}
    people = {row['subject'] for row in rows}
    lines = [(f'{report["unit"]} found', report['found']),
             ('used', len({(row['subject'], row['sequence']) for row in rows})),
             ('unlabelled', len(report['unlabelled'])), ('left out', len(report['left_out']))]
    lines += [(f'  {reason}', number) for reason, number in sorted(reasons.items())]
    lines += [('people', len(people)), ('images', len(images)), ('pairs', len(rows))]
    lines += [(text, report[name]) for name, text in OPTIONAL.items() if report.get(name)]
    lines += [(f'  {name}', count[name])
              for name in classes] if classes != sorted(people, key=folds.ascending) else []
    table = '\n'.join(f'{name:<42}{number:>7}' for name, number in lines)
    note = f'{report["note"]}\n' if 'note' in report else ''
    return f'{dataset}\n{table}\n{note}{tell_left_out(report["left_out"])}Written to {final}'


def tell_left_out(left_out):
    """One line a sequence (or person, or picture) left out, with the reason; beyond NAMED of them a
    count."""
    lines = [f'left out: {sequence}: {reason}\n' for sequence, reason in left_out[:NAMED]]
    if len(left_out) > NAMED:
        lines.append(f'left out: {len(left_out) - NAMED} more, all in account.csv\n')
    return ''.join(lines)


if __name__ == '__main__':
    main()
