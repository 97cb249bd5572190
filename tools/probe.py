"""What can be read off the codes of tested networks, by linear probes: `make probe`.

    python3 -m tools.probe --dataset demo

writes runs/<dataset>/probes.csv and probes.md. A probe is a linear classifier (ridge regression) on
a code of the test people, whom the network never saw. It is asked for the expression of people that
it was not shown itself, and for the person in sequences that it was not shown. Where the person has
been taken out of a code, the second finds little; in a code of the rest the first finds little.

The shares are a lower bound: another reader, with more people, may find more.
"""
import argparse
import collections
import functools
import sys

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from data_prep import datasets
from prototxt import net
from tools.core import arguments, fold_data, intervals, markdown, measured, network, tested_run
from tools.core.titles import title

PARTS = 5  # of the test people, and of a person's sequences: one is asked for, the others are shown
INNER = 3  # parts of what a probe is shown, by which it chooses one of the penalties
PENALTIES = 10.0 ** np.arange(6)
# What a network's codes are called: the blob that holds each. Of any other it is FC 384.
CODES = {
    'disentangled': {'expression code': 'expression', 'rest code': 'rest'},
    'degan': {'expression code': 'expression', "encoder's features": 'fc1'}
}
PIXELS = 'pixels'  # the query itself, which no network has changed
SHARES = ('expression', 'person')  # of those for which a probe is right


def probe(vectors, labels, groups):
    """Whether a linear probe tells the label of each of N x D vectors right, N booleans.

    It is fitted to the vectors of other groups than the one that is asked for. labels, groups: N,
    of any kind. None where fewer than two labels, or two groups, are there.
    """
    if len(set(labels)) < 2 or len(set(groups)) < 2:
        return None
    labels, groups = np.asarray(labels), np.asarray(groups)
    right = np.zeros(len(labels), bool)
    for shown, asked in GroupKFold(min(PARTS, len(set(groups)))).split(vectors, groups=groups):
        if len(set(labels[shown])) < 2:
            right[asked] = labels[asked] == labels[shown][0]
            continue
        with threadpool_limits(1):  # on a busy machine its threads wait for each other
            model = fit(vectors[shown], labels[shown], groups[shown])
            right[asked] = model.predict(vectors[asked]) == labels[asked]
    return right


def fit(vectors, labels, groups):
    """A linear classifier, its penalty chosen by cross-validation over the groups: frames of one
    sequence are alike, and would choose one that knows them by heart."""
    model = make_pipeline(StandardScaler(), RidgeClassifier(PENALTIES[-2]))
    parts = min(INNER, len(set(groups)))
    if parts > 1:
        model = GridSearchCV(model, {'ridgeclassifier__alpha': PENALTIES}, cv=GroupKFold(parts))
    return model.fit(vectors, labels, groups=groups) if parts > 1 else model.fit(vectors, labels)


def turns(rows):
    """Which of a person's sequences each row is of, 0, 1, … in ascending order, modulo PARTS."""
    sequences = collections.defaultdict(dict)
    for row in sorted(rows, key=lambda row: row['sequence']):
        own = sequences[row['subject']]
        own.setdefault(row['sequence'], len(own) % PARTS)
    return np.array([sequences[row['subject']][row['sequence']] for row in rows])


def measure(vectors, rows, labels):
    """{'expression', 'person': N values, 1 right, 0 wrong, nan where it was not asked}."""
    people = np.array([row['subject'] for row in rows])
    found = dict(expression=probe(vectors, labels, people))

    # Of a person with one sequence nothing else could be shown.
    turn = turns(rows)
    several = np.isin(people, [name for name in set(people) if len(set(turn[people == name])) > 1])
    found['person'] = np.full(len(rows), np.nan)
    right = probe(vectors[several], people[several], turn[several])
    if right is not None:
        found['person'][several] = right
    if found['expression'] is None:
        found['expression'] = np.full(len(rows), np.nan)
    return {name: values.astype(float) for name, values in found.items()}


def frequent(labels):
    """The share of the most frequent of N labels: what a probe has that sees nothing."""
    return np.unique(labels, return_counts=True)[1].max() / len(labels)


def collect(dataset, tested):
    """({(variant, code): rows}, sentences on runs that are left out, the two SHARES by chance or
    None) of what measured.find_tested gives; rows as in tools/core/intervals.py, with the values of
    measure()."""
    read = functools.lru_cache(maxsize=1)(functools.partial(fold_data.read_part, dataset,
                                                            part='test'))
    parts, left_out, chance = collections.defaultdict(list), [], {}
    for folder, run in tqdm(tested, 'probes', unit='net', ascii=True):
        try:
            trained = tested_run.load_tested(folder, dataset, run['fold'])
            rows, queries, _, labels = read(run['fold'])
        except SystemExit as error:
            left_out.append(f'{error} {folder} is left out of the probes.')
            continue
        codes = CODES.get(run['variant'], {'FC 384': 'fc1'})
        if not set(codes.values()) <= set(trained.blobs):
            left_out.append(f'{folder} is another network than prototxt/net.py writes now, and is '
                            'left out of the probes.')
            continue
        spaces = network.run(trained, queries, list(codes.values()))
        vectors = {(run['variant'], name): spaces[blob] for name, blob in codes.items()}
        if run['fold'] not in chance:  # of each fold once
            vectors[PIXELS, ''] = queries
            chance[run['fold']] = frequent(labels), frequent([row['subject'] for row in rows])

        subjects, images = measured.images_of(rows)
        which = dict(subject=subjects, image=images,
                     **{name: np.full(len(rows), run[name]) for name in ('fold', 'seed')})
        for name, space in vectors.items():
            values = measure(space.reshape(len(space), -1), rows, labels)
            parts[name].append({**which, **values})
    joined = {name: measured.joined(own) for name, own in parts.items()}
    return joined, left_out, np.mean(list(chance.values()), axis=0) if chance else None


def line_of(variant, code, rows):
    """A line of probes.csv: shares in %, None where nobody could be asked, and their intervals."""
    line = dict(variant=variant, code=code)
    for name in SHARES:
        line.update(measured.estimate(rows, name, scale=100))
    return {**line, 'people': len(set(zip(rows['fold'], rows['subject']))),
            'folds': len(set(rows['fold'])), 'seeds': intervals.listed(rows['seed'])}


def table(lines, chance):
    """The lines as a Table for probes.md."""
    rows = [{'variant': title(line['variant']), 'method': line['code'],
             **{f'{name}, %': measured.cell(line, name, scale=1) for name in SHARES},
             **{name: line[name] for name in ('people', 'folds', 'seeds')}} for line in lines]
    return markdown.Table('Read off the codes by a linear probe', rows, [
        'expression: ridge regression on the code of test people, asked for people that it was '
        'not shown. person: asked for sequences that it was not shown, of people that it was.',
        f'Who sees nothing has {100 * chance[0]:.1f} % and {100 * chance[1]:.1f} %: the most '
        'frequent class and person.',
        'In brackets: 95 % percentile interval of '
        f'{intervals.DRAWS:,} bootstrap draws of folds and people.'])


def write_probes(dataset, folds):
    """Writes probes.csv and probes.md of a data set and prints the latter; SystemExit where nothing
    can be probed."""
    if datasets.of_people(dataset) or not datasets.knows_people(dataset):
        raise SystemExit(f'{dataset} does not say who shows which expression: no probe can keep '
                         'people apart.')
    among = arguments.fold_list(dataset, folds)
    tested = [(folder, run) for folder, run in measured.find_tested(dataset, net.VARIANTS)
              if run['fold'] in among]
    if not tested:
        raise SystemExit(f'No tested network in runs/{dataset} on these folds: run `make train '
                         f'DATASET={dataset}` first.')
    rows, left_out, chance = collect(dataset, tested)
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    if not rows:
        raise SystemExit(f'No tested network in runs/{dataset} can be probed.')

    order = [PIXELS, *net.VARIANTS]
    lines = [line_of(*name, rows[name])
             for name in sorted(rows, key=lambda name: order.index(name[0]))]
    measured.write(dataset, 'probe', 'probes', 'Probes of codes', lines, [table(lines, chance)])


def main():
    parser = argparse.ArgumentParser(prog='python3 -m tools.probe',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', default='demo', help='what was tested (default: demo)')
    parser.add_argument('--folds', default='',
                        help='for instance "0 1 2" or 0-4 (default: all that the data set has)')
    options = parser.parse_args()
    with measured.ending_well('probes'):
        write_probes(options.dataset, options.folds)


if __name__ == '__main__':
    main()
