"""Builds a data set: pairs, 66 x 66 crops, ten folds, and an LMDB and a CSV for each part of them.

    python3 -m data_prep.build --dataset demo --raw data/raw/demo

writes data/demo/{classes.txt,account.csv,folds.csv,fold0..fold9}. All is written in a folder beside
it, which takes its place when it is complete: killed at any moment, the earlier build is whole or
the new one is. What is written does not depend on the number of worker processes.

A set that ships its own split into train and test gets fold0 alone, and no folds.csv; so does a set
whose classes are its people, for pre-training, which is split within each person. Where a set ships
no landmarks, the points that were detected stay in data/<dataset>.points.csv (see detect.py).

With --validate 0.1 the test part of each fold is set aside and not built: of the people that the
fold trains on, one in ten takes its place, and the other nine are trained on. Whatever is chosen
(lengths, rates, weights of losses) is chosen there, and the real test part is looked at once, at
the end. That build has a name of its own, data/<dataset>_validation, so that neither is taken for
the other: `make train DATASET=fer2013_validation`.

With --referred only the pairs that have a reference are built, into data/<dataset>_referred: all
that a generator learns from.
"""
import argparse
import collections
import contextlib
import functools
import os
import shutil
import sys
import tempfile

import lmdb
import numpy as np

from data_prep import (
    account,
    align,
    datasets,
    detect,
    folds,
    interrupted,
    makers_crops,
    names,
    pair_lmdb,
    pictures,
    workers,
)
from data_prep.sets import layout


def main():
    parser = argparse.ArgumentParser(description='Build the LMDBs of a data set.')
    parser.add_argument(
        '--dataset', required=True, help=f'{", ".join(sorted(datasets.DATASETS))}, or any name for '
        'a folder with a manifest.csv')
    parser.add_argument('--raw',
                        help='folder of the set as its makers ship it (default: data/raw/DATASET)')
    parser.add_argument('--out', default='data',
                        help='the build goes to OUT/DATASET (default: data)')
    parser.add_argument('--split',
                        help='a folds.csv to take instead of ascending ID, position mod 10')
    parser.add_argument('--folds', help='the former name of --split')
    parser.add_argument('--validate', type=float, metavar='SHARE',
                        help='of the training people, tested in the place of the test part, which '
                        f'is not built; in OUT/DATASET{datasets.VALIDATION}')
    parser.add_argument('--referred', action='store_true',
                        help='only the pairs that have a reference, for a generator; in '
                        f'OUT/DATASET{datasets.REFERRED}')
    parser.add_argument('--frames', type=int, default=3,
                        help='queries a sequence, from its end (default: 3)')
    parser.add_argument('--seed', type=int, default=1,
                        help='of the order of training records (default: 1)')
    parser.add_argument('--workers', type=int, default=workers.usable(),
                        help='processes (default: one a core)')
    args = parser.parse_args()

    if args.folds and not args.split:
        print(f'FOLDS={args.folds} is taken as SPLIT={args.folds}, which is its name now.',
              file=sys.stderr)
        args.split = args.folds

    raw = args.raw or os.path.join('data', 'raw', args.dataset)
    datasets.get(args.dataset, raw)
    check_options(args)

    name = args.dataset + ('' if args.validate is None else datasets.VALIDATION)
    final = os.path.join(args.out, datasets.referred(name) if args.referred else name)
    with building(args.out, args.dataset, final):
        said = build(final, args.dataset, raw, args.split, args.frames, args.seed, args.workers,
                     args.validate, args.referred)
    print(said)


def check_options(args):
    """SystemExit unless the numbers are in range and the options go together."""
    if args.frames < 1 or args.seed < 0 or args.workers < 1:
        raise SystemExit(
            f'--frames {args.frames} --seed {args.seed} --workers {args.workers}: at least 1 '
            'frame, a seed of 0 or more and 1 worker are needed.')
    for name, value in (('SPLIT', args.split), ('VALIDATE', args.validate is not None)):
        if value and datasets.of_people(args.dataset):
            raise SystemExit(f'{args.dataset} is split within each person: {name} is not for it.')
    if datasets.built_from(args.dataset) != args.dataset:
        raise SystemExit(f'{args.dataset} is the name of a build for validation, or of pairs with '
                         'a reference alone: name the data set by DATASET, the share of its '
                         'training people by VALIDATE, and pairs with a reference by REFERRED=1.')
    if args.validate is not None and not 0 < args.validate <= 0.5:
        raise SystemExit(f'VALIDATE is {args.validate:g}: a share above 0, and 0.5 at the most, is '
                         'needed.')


@contextlib.contextmanager
def building(out, dataset, final):
    """A build of a data set in folder `out`, one at a time; SystemExit, with what became of
    `final`, where the disk or Ctrl-C ends it."""
    try:
        os.makedirs(out, exist_ok=True)
        with open(os.path.join(out, f'.{dataset}.lock'), 'w') as lock:
            workers.take_turn(lock, 'Waiting for another build of this data set.')
            yield
    except (OSError, lmdb.Error) as error:
        raise SystemExit(f'{final} was not built: {error}.') from None
    except KeyboardInterrupt:
        raise interrupted(f'{final} is as it was before') from None


def build(final, dataset, raw, folds_file=None, frames=3, seed=1, processes=1, validate=None,
          referred=False):
    """Builds folder `final` from `raw` and returns the account to print; SystemExit where it cannot
    be done. validate: the share of the training people that is tested instead, None for none;
    referred: only the pairs that have a reference.

    An earlier build in `final` is replaced at the very end, or stays as it is.
    """
    classes, _ = datasets.get(dataset, raw)
    place = cleared(final, raw)

    # One file of points for all builds of a set.
    detected = functools.partial(detect.points_of, raw, workers=processes,
                                 cache=f'{datasets.built_from(place)}.points.csv')
    rows, points, report = load_set(dataset, raw, frames, detected)

    expressions = set() if datasets.of_people(dataset) else {row['expression'] for row in rows}
    paths = sorted({path for row in rows for path in (row['reference'], row['path'])} - {None})
    failures, counts = {}, {}
    if points is None:
        points, failures, counts['several faces, the largest taken'] = detected(paths)
    if datasets.ships_crops(dataset, paths):
        points, failures, counts["no usable points, the maker's crop taken"] = (
            makers_crops.fill_in(raw, points, failures, processes))

    with cropped(raw, points, os.path.dirname(place) or '.', processes) as (crop_of, unreadable):
        failures = {**failures, **unreadable}
        if report['unit'] == 'images':
            rows, counts['references not usable, another or none'] = mend_references(rows, failures)
        rows, unusable = leave_out(rows, failures)
        if datasets.of_people(dataset):
            rows, alone = usable_people(rows)
            unusable += alone

        left_out = sorted(report['left_out'] + unusable)
        report = {**report, 'left_out': left_out, 'counts': counts}
        try:
            fold_of, splits = split(dataset, rows, raw, folds_file, report)
            other = datasets.built_from if validate is not None or referred else datasets.referred
            folds.check_same(other(place), fold_of)
            if validate is not None:
                fold_of = None
                splits = [folds.split_training(train, validate) for train, _ in splits]
            if referred:  # after the split: it is the other builds' too
                splits = [tuple(map(with_reference, parts)) for parts in splits]
                left_out += [(f'{row["subject"]}/{row["sequence"]}', 'no reference')
                             for row in rows if not row['reference']]
                rows = with_reference(rows)
            if classes is None:
                order = folds.ascending if datasets.of_people(dataset) else None
                classes = sorted({row['expression'] for row in rows}, key=order)
                if len(classes) < 2:
                    raise SystemExit(f'Of {raw} one expression alone is left, {classes[0]}, and 2 '
                                     'are needed.')
        except SystemExit as error:  # why so few are left is in what was left out
            raise SystemExit(f'{account.tell_left_out(left_out)}{error}') from None

        warnings = account.tell_warnings(dataset, rows, splits, {*classes, *expressions}, crop_of)
        with contextlib.suppress(SystemExit):  # what cannot be read is replaced all the same
            moved = len(folds.moved(place, fold_of))
            if moved:
                warnings += (f'Warning: {moved} people are in another fold than in the build that '
                             'was here before (another SPLIT?), so runs of that are not tested on '
                             'this.\n')
        with taking(place) as partial:
            write_all(partial, classes, crop_of, fold_of, splits, seed, processes)
            account.write(os.path.join(partial, 'account.csv'), rows, splits, report)
    return (f'{dataset}\n{account.tell(dataset, rows, splits, classes, report)}'
            f'{account.tell_left_out(left_out)}{warnings}Written to {final}')


def load_set(dataset, raw, frames, detected):
    """What datasets.load gives; SystemExit also where links of the set lead to what cannot be seen,
    or a person is there under two names."""
    if dataset in datasets.DATASETS and dataset != 'manifest':
        layout.check_links(raw)
    rows, points, report = datasets.load(dataset, raw, frames, detected)
    if datasets.knows_people(dataset):
        subjects = {row['subject'] for row in rows}
        names.check_rounded(subjects, 'subject', raw)
        names.check_spellings(subjects, 'subjects', raw)
    return rows, points, report


def split(dataset, rows, raw, folds_file, report):
    """({subject: fold} or None, [(train, test)], a fold each) of a set's rows.

    SystemExit where they cannot be split.
    """
    if not rows:
        raise SystemExit(
            f'Nothing in {raw} can be used: {report["found"]} {report["unit"]}, '
            f'{len(report["unlabelled"])} unlabelled, {len(report["left_out"])} left out.')
    if 'split' in rows[0]:
        if folds_file:
            raise SystemExit(f'{raw} has its own split into train and test: SPLIT is not for it.')
        return None, folds.split_as_given(rows)
    subjects = {row['subject'] for row in rows}
    if datasets.of_people(dataset):
        if len(subjects) < 2:
            raise SystemExit('Fewer than two people have two usable pictures each: nobody can be '
                             'told apart.')
        return None, folds.split_within_person(rows)
    fold_of = folds.read_folds(folds_file, subjects) if folds_file else folds.assign(subjects)
    return fold_of, folds.split_by_person(rows, fold_of)


def with_reference(rows):
    """Those of the rows that have a reference; SystemExit where none has."""
    kept = [row for row in rows if row['reference']]
    if not kept:
        raise SystemExit(f'None of {len(rows)} pictures of a part has a reference: there is '
                         'nothing that a generator could learn from.')
    return kept


def cleared(final, raw):
    """Where the build `final` of `raw` lies, cleared of what a killed build left; SystemExit where
    something else lies there."""
    # Where `final` is a link to another disk, beside the folder that it leads to: a rename works
    # within one file system only. Where it lies here, by the name that a reader knows.
    place = os.path.realpath(final)
    if place.startswith(os.path.join(os.getcwd(), '')):
        place = os.path.relpath(place)
    protect(place, raw)
    recover(place, beside(place, 'partial'), beside(place, 'earlier'))
    return place


def beside(place, ending):
    """A hidden name beside `place`, which no one gives to a folder of their own."""
    folder, name = os.path.split(place)
    return os.path.join(folder, f'.{name}.{ending}')


@contextlib.contextmanager
def taking(place):
    """Gives the name of a folder to make and fill, which then takes the place of the earlier build:
    complete or not at all."""
    partial = beside(place, 'partial')
    try:
        yield partial
        sync(partial)  # a rename may reach the disk before what it renames
        replace(place, partial, beside(place, 'earlier'))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def protect(final, raw):
    """SystemExit where a build would replace what is no build, the raw data above all."""
    # With a slash at the end, or data/demo2 would be inside data/demo.
    inside = os.path.join(os.path.realpath(raw), '').startswith(
        os.path.join(os.path.realpath(final), ''))
    if inside or (os.path.lexists(final)
                  and not os.path.isfile(os.path.join(final, 'fold0', 'train.csv'))):
        raise SystemExit(
            f'{final} holds something else than a build, which a build would replace: move that '
            'away, for instance to data/raw, and name it there.')


def recover(final, partial, earlier):
    """Clears away what a killed build left.

    An earlier build caught between two renames goes back.
    """
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
    """Crops one picture into its place in an open file.

    Returns None, or the reason why it could not be done.
    """
    raw, path, points, store, number = job
    try:
        crop = align.crop(pictures.read_grey(raw, path), points)
    except ValueError as error:
        return str(error)
    # Each process writes at a place of its own, so none waits for another.
    if os.pwrite(store, crop.tobytes(), number * align.SIZE ** 2) != align.SIZE ** 2:
        raise OSError('no space left for the crops')
    return None


def read_crop(store, place, path):
    """The crop of the picture `path`, which crop_into has put at its place in an open file."""
    data = os.pread(store, align.SIZE ** 2, place[path] * align.SIZE ** 2)
    return np.frombuffer(data, np.uint8).reshape(align.SIZE, align.SIZE)


def mend_references(rows, failures):
    """(rows, how many were changed) of a set of single images: a reference that cannot be used
    gives way to the person's first neutral image that can, or to None, as the query itself is
    good."""
    neutral = layout.first_neutral(row for row in rows if row['path'] not in failures)
    mended, changed = [], 0
    for row in rows:
        if row['reference'] in failures and row['path'] not in failures:
            row = {**row, 'reference': neutral.get(row['subject'])}
            changed += 1
        mended.append(row)
    return mended, changed


def leave_out(rows, failures):
    """(rows of sequences whose pictures could all be read, [(sequence, reason)] of the others)."""
    reasons = {}
    for row in rows:
        sequence = row['subject'], row['sequence']
        for path in (row['reference'], row['path']):
            if path in failures:
                # A set of images names a sequence by its picture: not twice in one line.
                named = path == '/'.join(sequence)
                reason = failures[path] if named else f'{failures[path]}: {path}'
                reasons.setdefault(sequence, reason)
    kept = [row for row in rows if (row['subject'], row['sequence']) not in reasons]
    return kept, [('/'.join(sequence), reason) for sequence, reason in reasons.items()]


def usable_people(rows):
    """(rows of people with two pictures or more, [(person, reason)] of the others)."""
    count = collections.Counter(row['subject'] for row in rows)
    alone = [(person, 'one usable picture, at least 2 needed')
             for person in count if count[person] == 1]
    return [row for row in rows if count[row['subject']] > 1], alone


def write_all(partial, classes, crop_of, fold_of, splits, seed, processes):
    """Writes a whole build into the new folder `partial`; splits: [(train, test)], a fold each;
    fold_of: the content of folds.csv, or None for none."""
    os.mkdir(partial)
    write_classes(partial, classes)
    if fold_of:
        folds.write_folds(os.path.join(partial, 'folds.csv'), fold_of)

    parts = []
    for fold, (train, test) in enumerate(splits):
        os.mkdir(os.path.join(partial, f'fold{fold}'))
        # Caffe reads in key order, and a batch must not be one person: hence the shuffle,
        # another one in each fold.
        order = np.random.RandomState([seed, fold]).permutation(len(train))
        parts += [(os.path.join(partial, f'fold{fold}', 'train'), [train[i] for i in order]),
                  (os.path.join(partial, f'fold{fold}', 'test'), test)]

    jobs = [(*part, classes, crop_of) for part in parts]
    for _ in workers.run(pair_lmdb.write_job, jobs, processes, chunk=1, desc='folds', unit='part'):
        pass


def write_classes(folder, classes):
    """Writes the names of the classes, in the order of their labels."""
    with open(os.path.join(folder, 'classes.txt'), 'w', encoding='utf-8') as file:
        file.writelines(f'{name}\n' for name in classes)


def sync(folder):
    """Writes a folder's content through to the disk."""
    for parent, _, files in os.walk(folder):
        for path in [parent] + [os.path.join(parent, name) for name in files]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def replace(final, partial, earlier):
    """Puts `partial` in the place of `final`; what was there before goes."""
    if not os.path.isdir(final):
        os.rename(partial, final)
        return

    os.rename(final, earlier)  # a kill between these two renames is mended by recover()
    os.rename(partial, final)
    shutil.rmtree(earlier, ignore_errors=True)


if __name__ == '__main__':
    main()
