"""Joins built data sets into one: make data DATASET=name JOIN="fer2013 wild".

    python3 -m data_prep.join --dataset photographs fer2013 wild

writes data/photographs/fold0: the training parts of fold 0 of each set together, in an order drawn
anew, and their test parts one after the other. So nobody whom one of the sets tests is trained on,
as long as no person is in two of them. Subjects bear the name of their set. The first set's classes
are the classes; the others may lack some of them.

In training the other sets' classes are as frequent as the first's: pairs of a rare class are there
several times, of a frequent one some are left out. Else the look of a set, sharp or not, would tell
the expression.
"""
import argparse
import collections
import os

import numpy as np

from data_prep import build, datasets, pair_lmdb


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', required=True, help='name of the joined set')
    parser.add_argument('--out', default='data', help='where the sets are built, and this one goes')
    parser.add_argument('--seed', type=int, default=1,
                        help='of the order of training records (default: 1)')
    parser.add_argument('sets', nargs='+', metavar='SET', help='names of built data sets')
    args = parser.parse_args()

    final = os.path.join(args.out, args.dataset)
    if len(set(args.sets)) < 2 or len(set(args.sets)) < len(args.sets) or args.dataset in args.sets:
        raise SystemExit(f'JOIN is {" ".join(args.sets)!r} and DATASET {args.dataset}: two '
                         'different data sets are needed, and another name for both together.')
    if datasets.built_from(args.dataset) in datasets.DATASETS:
        raise SystemExit(f'DATASET {args.dataset} is a data set of its own, whose build would be '
                         'replaced: give the joined set another name.')
    origins = collections.Counter(map(datasets.built_from, args.sets))
    twice = [name for name in origins if origins[name] > 1]
    if twice:
        raise SystemExit(f'JOIN names {twice[0]} in two forms: its test people would be trained '
                         'on.')
    if os.path.isfile(os.path.join(final, 'account.csv')):
        raise SystemExit(f'{final} is a build of its own, which would be replaced: give the joined '
                         'set another name.')
    with build.building(args.out, args.dataset, final):
        join(final, [os.path.join(args.out, name) for name in args.sets], args.seed)
    print(f'Written to {final}')


def join(final, folders, seed=1):
    """Builds folder `final` from the built folders; SystemExit where one is missing or has a class
    that the first has not. An earlier build in `final` is replaced at the very end."""
    classes = read_classes(folders[0])
    for folder in folders[1:]:
        foreign = sorted(set(read_classes(folder)) - set(classes))
        if foreign:
            raise SystemExit(f'{folder} has the class {foreign[0]}, and {folders[0]} has not: its '
                             f'classes are {", ".join(classes)}. Name first the set with the most.')

    with build.taking(build.cleared(final, folders[0])) as partial:
        os.makedirs(os.path.join(partial, 'fold0'))
        build.write_classes(partial, classes)
        for part in 'train', 'test':
            write_part(partial, folders, part, classes, seed)


def write_part(partial, folders, part, classes, seed):
    """Writes `train` or `test` of all folders, one after the other or, of `train`, in an order
    drawn from the seed; says how many pairs come from where."""
    crops, random = {}, np.random.RandomState(seed)
    of_sets = [read_part(folder, part, crops) for folder in folders]
    if part == 'train':
        first, *others = of_sets
        count = collections.Counter(row['expression'] for row in first)
        of_sets = [first, *(as_frequent(rows, count, random) for rows in others)]
    for folder, rows in zip(folders, of_sets):
        print(f'{part}: {len(rows)} pairs of {folder}')

    rows = sum(of_sets, [])
    if part == 'train':
        rows = [rows[i] for i in random.permutation(len(rows))]
    pair_lmdb.write_pairs(os.path.join(partial, 'fold0', part), rows, classes, crops.get)


def as_frequent(rows, count, random):
    """About as many rows, with the classes as frequent as in `count`: those of a rare class
    several times, of a frequent one as many as are needed, at random."""
    rows_of, even = collections.defaultdict(list), []
    for row in rows:
        rows_of[row['expression']].append(row)
    known = sum(count[name] for name in rows_of)
    if not known:
        raise SystemExit('The first set has no training picture of any class of another set, so '
                         'none of its frequencies can be taken: join other sets.')
    share = len(rows) / known
    for name, own in sorted(rows_of.items()):
        wanted = round(share * count[name])
        even += wanted // len(own) * own
        even += [own[i] for i in random.permutation(len(own))[:wanted % len(own)]]
    return even


def read_part(folder, part, crops):
    """The rows of a part of a set's fold 0, as pair_lmdb.write_pairs takes them; their X and Xr, 66
    x 66 uint8, go into {path: crop}. SystemExit where CSV and LMDB are not of one build."""
    path, name, rows = os.path.join(folder, 'fold0', part), os.path.basename(folder), []
    pair_lmdb.verify(f'{path}_lmdb')
    for row, (_, query, reference, _) in pair_lmdb.read_listed(path):
        picture, known = f'{name}/{row["path"]}', reference.any()
        rows.append({**row, 'subject': f'{name}-{row["subject"]}', 'path': picture,
                     'reference': f'Xr of {picture}' if known else None})
        crops[picture], crops[f'Xr of {picture}'] = query, reference
    return rows


def read_classes(folder):
    """The classes of a built data set; SystemExit where there is none."""
    try:
        with open(os.path.join(folder, 'classes.txt'), encoding='utf-8') as file:
            return file.read().splitlines()
    except OSError:
        raise SystemExit(f'{folder} is not built: run `make data` for it first.') from None


if __name__ == '__main__':
    main()
