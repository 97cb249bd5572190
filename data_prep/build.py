"""Builds a data set: pairs, 66 x 66 crops, ten folds, an LMDB and a CSV for the train and test part of each.

    python3 -m data_prep.build --dataset demo --raw data/raw/demo

writes data/demo/{classes.txt,folds.csv,fold0..fold9}. All is written in a folder beside it, which takes its
place when it is complete: killed at any moment, the earlier build is whole or the new one is.

    python3 -m data_prep.build --dataset demo_people --raw data/raw/demo --without-fold 3

A set whose classes are its people, for pre-training, is split within each person, into fold0 alone and with
no folds.csv. For an honest test later it leaves out the people of the fold that will be tested. Where a set
ships no landmarks, the points that were detected stay in data/<dataset>.points.csv (see detect.py).
"""
import argparse
import collections
import fcntl
import os
import shutil
import sys

import lmdb
import numpy as np
from tqdm import tqdm

from data_prep import align, datasets, detect, folds, lmdb_writer

NAMED = 20  # sequences left out that are named one by one in the printed account


def main():
    parser = argparse.ArgumentParser(description='Build the LMDBs of a data set.')
    parser.add_argument('--dataset', required=True, help=', '.join(sorted(datasets.DATASETS)))
    parser.add_argument('--raw', help='folder of the set as its makers ship it (default: data/raw/DATASET)')
    parser.add_argument('--out', default='data', help='the build goes to OUT/DATASET (default: data)')
    parser.add_argument('--folds', help='a folds.csv to take instead of ascending ID, position mod 10')
    parser.add_argument('--without-fold', type=int, help='leave out the people of this fold; for demo_people')
    parser.add_argument('--frames', type=int, default=3, help='queries a sequence, from its end (default: 3)')
    parser.add_argument('--seed', type=int, default=1, help='of the order of training records (default: 1)')
    args = parser.parse_args()
    classes, _ = datasets.get(args.dataset)
    if args.frames < 1 or args.seed < 0:
        raise SystemExit(f'--frames {args.frames} --seed {args.seed}: at least 1 frame and a seed of 0 or '
                         'more are needed.')
    if args.without_fold not in (None, *range(folds.FOLDS)):
        raise SystemExit(f'--without-fold {args.without_fold}: give a fold from 0 to {folds.FOLDS - 1}.')
    if classes and args.without_fold is not None:
        raise SystemExit('--without-fold is for a set whose classes are its people, and '
                         f'{args.dataset} is none.')
    if not classes and args.folds and args.without_fold is None:
        raise SystemExit(f'{args.dataset} is split within each person: --folds needs --without-fold with it.')
    raw = args.raw or os.path.join('data', 'raw', args.dataset)
    final = os.path.join(args.out, args.dataset)
    try:
        os.makedirs(args.out, exist_ok=True)
        with open(os.path.join(args.out, f'.{args.dataset}.lock'), 'w') as lock:
            wait_for(lock)
            account = build(final, args.dataset, raw, args.folds, args.frames, args.seed, args.without_fold)
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


def build(final, dataset, raw, folds_file=None, frames=3, seed=1, without_fold=None):
    """Builds folder `final` from `raw` and returns the account to print; SystemExit where it cannot be done.

    An earlier build in `final` is replaced at the very end, or stays as it is.
    """
    classes, load = datasets.get(dataset)
    place = os.path.realpath(final)
    partial, earlier = place + '.partial', place + '.earlier'
    protect(place, raw)
    recover(place, partial, earlier)
    rows, points, report = load(raw, classes, frames)
    failures = {}
    if points is None:
        paths = {path for row in rows for path in (row['reference'], row['path'])} - {None}
        points, failures, report['several faces'] = detect.points_of(raw, sorted(paths),
                                                                     f'{place}.points.csv')
    crops, unreadable = crop_all(raw, points)
    rows = leave_out(rows, {**failures, **unreadable}, report)
    subjects, fold_of = {row['subject'] for row in rows}, None
    try:
        if not rows:
            raise SystemExit(f'Nothing in {raw} can be used: {report["found"]} {unit(report)}, '
                             f'{report["unlabelled"]} unlabelled, {len(report["left_out"])} left out.')
        if classes or without_fold is not None:
            fold_of = folds.read(folds_file, subjects) if folds_file else folds.assign(subjects)
        if classes:
            splits = folds.split_by_person(rows, fold_of)
        else:
            rows = usable_people(rows, fold_of, without_fold, report)
            classes, fold_of = sorted({row['subject'] for row in rows}, key=folds.ascending), None
            splits = folds.split_within_person(rows)
    except SystemExit as error:
        raise SystemExit(f'{tell_left_out(report["left_out"])}{error}') from None
    try:
        write_all(partial, classes, crops, fold_of, splits, seed)
        replace(place, partial, earlier)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return tell(final, dataset, rows, classes, report)


def protect(final, raw):
    """SystemExit where putting a build in place would remove what is no build, the raw data above all."""
    inside = os.path.join(os.path.realpath(raw), '').startswith(os.path.join(os.path.realpath(final), ''))
    if inside or (os.path.lexists(final) and not os.path.isfile(os.path.join(final, 'fold0', 'train.csv'))):
        raise SystemExit(f'{final} holds something else than a build, which a build would replace: move that '
                         'away, for instance to data/raw, and name it there.')


def recover(final, partial, earlier):
    """Clears away what a killed build left; an earlier build caught between two renames goes back."""
    if os.path.isdir(earlier) and not os.path.isdir(final):
        os.rename(earlier, final)
    shutil.rmtree(earlier, ignore_errors=True)
    shutil.rmtree(partial, ignore_errors=True)


def crop_all(raw, points):
    """Crops each picture once: ({path: 66 x 66 uint8}, {path: reason} of those that could not be read)."""
    crops, failures = {}, {}
    for path in tqdm(sorted(points), desc='faces', unit='face', ascii=True):
        try:
            crops[path] = align.crop(align.read_grey(os.path.join(raw, path)), points[path])
        except ValueError as error:
            failures[path] = f'{os.path.basename(path)}: {error}'
    return crops, failures


def leave_out(rows, failures, report):
    """The rows of sequences whose pictures could all be read; the others go to report['left_out']."""
    reasons = {}
    for row in rows:
        for path in (row['reference'], row['path']):
            if path in failures:
                reasons.setdefault((row['subject'], row['sequence']), failures[path])
    report['left_out'] += [('/'.join(sequence), reason) for sequence, reason in reasons.items()]
    report['left_out'].sort()
    return [row for row in rows if (row['subject'], row['sequence']) not in reasons]


def usable_people(rows, fold_of, without_fold, report):
    """The rows of people who are not of the fold left out and have two pictures or more, to train and test.

    SystemExit where fewer than two such people remain.
    """
    if without_fold is not None:
        rows = [row for row in rows if fold_of[row['subject']] != without_fold]
    count = collections.Counter(row['subject'] for row in rows)
    report['left_out'] += [(person, 'one usable picture, at least 2 needed')
                           for person in count if count[person] == 1]
    report['left_out'].sort()
    rows = [row for row in rows if count[row['subject']] > 1]
    if len({row['subject'] for row in rows}) < 2:
        raise SystemExit('Fewer than two people have two usable pictures each: nobody can be told apart.')
    return rows


def write_all(partial, classes, crops, fold_of, splits, seed):
    """Writes a whole build into the new folder `partial`, and through to the disk; splits: [(train, test)], a
    fold each; fold_of: the content of folds.csv, or None for none."""
    os.mkdir(partial)
    with open(os.path.join(partial, 'classes.txt'), 'w', encoding='utf-8') as file:
        file.writelines(f'{name}\n' for name in classes)
    if fold_of:
        folds.write(os.path.join(partial, 'folds.csv'), fold_of)
    for fold, (train, test) in enumerate(tqdm(splits, desc='folds', unit='fold', ascii=True)):
        os.mkdir(os.path.join(partial, f'fold{fold}'))
        # Caffe reads in key order, and a batch must not be one person: hence the shuffle.
        order = np.random.RandomState([seed, fold]).permutation(len(train))
        for part, records in [('train', [train[i] for i in order]), ('test', test)]:
            lmdb_writer.write(os.path.join(partial, f'fold{fold}', part), records, classes, crops)
    for folder, _, names in os.walk(partial):
        for path in [folder] + [os.path.join(folder, name) for name in names]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def replace(final, partial, earlier):
    """Puts `partial` in the place of `final`; what was there is gone from `final` and may be removed."""
    if not os.path.isdir(final):
        os.rename(partial, final)
        return
    os.rename(final, earlier)  # a kill between these two renames is mended by recover()
    os.rename(partial, final)
    shutil.rmtree(earlier, ignore_errors=True)


def tell(final, dataset, rows, classes, report):
    """The account of a build, as text."""
    fixed, _ = datasets.get(dataset)
    count = collections.Counter(row['expression'] for row in rows)
    used = {(row['subject'], row['sequence']) for row in rows}
    images = {path for row in rows for path in (row['path'], row['reference'])}
    lines = [(f'{unit(report)} found', report['found']), ('used', len(used)),
             ('unlabelled', report['unlabelled']), ('left out', len(report['left_out'])),
             ('people', len({row['subject'] for row in rows})),
             ('images', len(images)), ('pairs', len(rows))]
    lines += [('several faces', report['several faces'])] if 'several faces' in report else []
    lines += [(f'  {name}', count[name]) for name in classes if fixed]
    table = '\n'.join(f'{name:<18}{number:>7}' for name, number in lines)
    return f'{dataset}\n{table}\n{tell_left_out(report["left_out"])}Written to {final}'


def unit(report):
    """What a loader counts."""
    return report.get('unit', 'sequences')


def tell_left_out(left_out):
    """One line a sequence (or person, or picture) left out, with the reason; beyond NAMED of them a count."""
    lines = [f'left out: {sequence}: {reason}\n' for sequence, reason in left_out[:NAMED]]
    if len(left_out) > NAMED:
        lines.append(f'left out: {len(left_out) - NAMED} more\n')
    return ''.join(lines)


if __name__ == '__main__':
    main()
