"""Is the generated reference X̂r a reference? Measured on unseen people, for each tested GCNet.

    python3 -m tools.references --dataset demo

writes runs/<dataset>/references.md, to read as it is, and references.csv, the same values
unrounded, a row a variant: shares and probabilities in [0, 1], and after each value, in _low and
_high, its 95 % bootstrap interval over folds and people; empty where there is none. The values:

    distance_generated      mean ||X̂r - Xr||, L2 over 64 x 64 pixels in [0, 1]
    distance_query          mean ||X - Xr||
    generated_nearer        share of samples whose X̂r is nearer to Xr than X is
    neutral_generated       mean probability of neutral that the network itself gives with X̂r as
                            its query, over samples that are not neutral; empty where the set has
                            no such class
    neutral_query           the same with X
    neutral_reference       the same with Xr
    same_person_generated   share of samples whose X̂r has as nearest neighbour, L2 on pixels, one
                            of the same person, among all different Xr of all people of the fold,
                            in training or not. Any of the person's own is right, that of the
                            sample's own sequence too
    same_person_query       the same for X
    same_person_chance      the same for a neighbour drawn at random

Samples are those of the test fold that have a reference other than their query: without one, Xr is
all 0, and of a neutral face that is its own reference there is nothing to draw. Means are over all
samples of a variant, its folds together, each by its mean over seeds, as in the tables.
"""
import argparse
import collections
import functools
import sys

import numpy as np
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from prototxt.net import GCNETS
from tools.core import fold_data, intervals, network, predictions, tested_run
from tools.core.intervals import listed
from tools.core.markdown import Table
from tools.core.measured import cell, ending_well, estimate, find_tested, images_of, joined, write
from tools.core.titles import title

NEUTRAL = 'neutral'  # the class
MEASURES = ('distance_generated', 'distance_query', 'generated_nearer',
            'neutral_generated', 'neutral_query', 'neutral_reference',
            'same_person_generated', 'same_person_query', 'same_person_chance')

# Arrays with an entry a sample, then with one a true reference: M x pixels, and whose it is.
Samples = collections.namedtuple('Samples',
                                 'subjects images queries references labels faces people')


def comparable(queries, references):
    """Which of N pairs have a reference, and not the query itself.

    All 0: none, see layers/augment.py.
    """
    axes = tuple(range(1, queries.ndim))
    return references.any(axis=axes) & (queries != references).any(axis=axes)


def gallery(references, subjects):
    """(faces M x pixels, people M): the different references of each person, if not all 0."""
    faces = {(subject, face.tobytes()): face.ravel()
             for face, subject in zip(references, subjects) if face.any()}
    return np.array(list(faces.values())), np.array([subject for subject, _ in faces])


def distance(pictures, references):
    """The L2 distances of N pairs of pictures."""
    return np.linalg.norm((pictures.astype(float) - references).reshape(len(pictures), -1), axis=1)


def same_person(pictures, subjects, faces, people):
    """Whether the nearest of the faces (M x pixels, of people M) is the subject's; N values."""
    neighbours = NearestNeighbors(n_neighbors=1, algorithm='brute').fit(faces.astype(float))
    pixels = pictures.reshape(len(pictures), -1).astype(float)
    return people[neighbours.kneighbors(pixels, return_distance=False)[:, 0]] == subjects


def chance(subjects, people):
    """The share of the people's faces (M) that are of the subject, for each of N subjects."""
    share = {person: np.mean(people == person) for person in set(subjects)}
    return np.array([share[subject] for subject in subjects])


def read_samples(dataset, fold):
    """The Samples of a test fold, with the true references of all people.

    SystemExit where there are none.
    """
    rows, queries, references, labels = fold_data.read_part(dataset, fold, 'test')
    more_rows, _, more_references, _ = fold_data.read_part(dataset, fold, 'train')
    faces, people = gallery(np.concatenate([references, more_references]),
                            [row['subject'] for row in [*rows, *more_rows]])

    chosen = comparable(queries, references)
    if not chosen.any():
        raise SystemExit(
            f'{fold_data.fold_path(dataset, fold)}/test_lmdb has no sample with a reference but '
            'its own query.')

    arrays = (*images_of(rows), queries, references, labels)
    return Samples(*(array[chosen] for array in arrays), faces, people)


def measure(net, samples, neutral):
    """{name of MEASURES: N values} of a network, nan where a sample has none.

    neutral: the label of that class, or None. SystemExit where what the network draws is not
    finite.
    """
    outputs = network.run(net, samples.queries, ['generated'])
    generated = outputs['generated']
    if not np.isfinite(generated).all():
        raise SystemExit(
            'The network draws pixels that are not finite: train it again with a smaller LR.')

    values = {name: np.full(len(generated), np.nan) for name in MEASURES}
    of_generated = distance(generated, samples.references)
    of_query = distance(samples.queries, samples.references)
    values['distance_generated'], values['distance_query'] = of_generated, of_query
    values['generated_nearer'] = np.less(of_generated, of_query).astype(float)

    # A neutral query says nothing: what is drawn of it is neutral anyway.
    if neutral is not None:
        chosen = samples.labels != neutral
        probabilities = {
            'generated': network.run(net, generated, [])['prob'], 'query': outputs['prob'],
            'reference': network.run(net, samples.references, [])['prob']
        }
        for name, shares in probabilities.items():
            values[f'neutral_{name}'][chosen] = shares[chosen, neutral]

    for name, pictures in (('generated', generated), ('query', samples.queries)):
        values[f'same_person_{name}'][:] = same_person(pictures, samples.subjects, samples.faces,
                                                       samples.people)
    values['same_person_chance'] = chance(samples.subjects, samples.people)
    return values


def collect(dataset, tested):
    """({variant: rows}, sentences) of what find_tested gives.

    Rows are as in tools/core/intervals.py, with MEASURES as values. There is a sentence for each
    run that is left out, because it is damaged or not of the data as built here.
    """
    classes = predictions.classes_of(dataset) or []
    neutral = classes.index(NEUTRAL) if NEUTRAL in classes else None
    read_fold = functools.lru_cache(maxsize=1)(functools.partial(read_samples, dataset))
    parts, left_out = collections.defaultdict(list), []
    for folder, run in tqdm(tested, 'references', unit='net', ascii=True):
        try:
            net = tested_run.load_tested(folder, dataset, run['fold'])
            samples = read_fold(run['fold'])
            values = measure(net, samples, neutral)
        except SystemExit as error:
            left_out.append(f'{error} {folder} is left out of the references.')
            continue
        which = {name: np.full(len(samples.images), run[name])
                 for name in ('fold', 'seed', 'iterations')}
        parts[run['variant']].append(
            dict(subject=samples.subjects, image=samples.images, **which, **values))

    # in the order of the tables
    return {variant: joined(parts[variant]) for variant in GCNETS if variant in parts}, left_out


def summary(variant, rows):
    """A variant's line of references.csv."""
    line = dict(variant=variant, people=len(set(rows['subject'])), images=len(set(rows['image'])),
                folds=listed(rows['fold']), seeds=listed(rows['seed']),
                iterations=listed(rows['iterations']))
    for name in MEASURES:
        line.update(estimate(rows, name))
    return line


def distance_table(lines):
    """How near to the true reference the generated one is, and the query."""
    rows = [{
        'variant': title(line['variant']), 'generated': cell(line, 'distance_generated', 1, '.2f'),
        'query': cell(line, 'distance_query', 1, '.2f'),
        'generated nearer, %': cell(line, 'generated_nearer'),
        **{name: line[name] for name in ('people', 'images', 'folds', 'seeds', 'iterations')}
    } for line in lines]
    return Table('Distance from the true reference', rows, [
        'generated, query: L2 distance of the generated reference X̂r, and of the query X, '
        'from the true reference Xr, over 64 x 64 pixels in [0, 1], mean.',
        'generated nearer: share of the images whose X̂r is nearer to Xr than X is. A network '
        'that copies X has 0.',
        'In brackets, here and below: 95 % percentile interval of '
        f'{intervals.DRAWS:,} bootstrap draws, seed {intervals.SEED}, of the test folds and of the '
        'people within each, with replacement; of one fold, of its people alone.',
        'people, images: of the test folds, without the images that have no reference or are it '
        'themselves. Of several seeds an image counts by its mean.'])


def neutral_table(lines):
    """What the classifier says of generated reference, query and true reference."""
    rows = [{'variant': title(line['variant']), 'generated': cell(line, 'neutral_generated'),
             'query': cell(line, 'neutral_query'), 'true': cell(line, 'neutral_reference')}
            for line in lines]
    return Table('Probability of neutral, %', rows, [
        'What the network itself says with X̂r (generated), X (query) or Xr (true) as its query, '
        'mean over the images that are not neutral.'])


def identity_table(lines):
    """Whose true reference is the nearest."""
    rows = [{'variant': title(line['variant']), 'generated': cell(line, 'same_person_generated'),
             'query': cell(line, 'same_person_query'),
             'chance': f'{100 * line["same_person_chance"]:.1f}'}
            for line in lines]
    return Table('The nearest true reference is the same person\'s, %', rows, [
        'generated, query: share of the images of which X̂r, or X, is nearest (L2 on pixels) to '
        'an Xr of the same person, among those of all training and test people. A mean face fails '
        'here.',
        'chance: that share for an Xr drawn at random.'])


def write_references(dataset):
    """Writes references.csv and references.md of a data set and prints the latter.

    Or prints why there are none.
    """
    tested = find_tested(dataset, GCNETS)
    if not tested:
        print(f'No references: runs/{dataset} has no tested GCNet.')
        return

    rows, left_out = collect(dataset, tested)
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    if not rows:
        print(f'No references: no tested GCNet in runs/{dataset} can be measured.')
        return

    lines = [summary(variant, own) for variant, own in rows.items()]
    shown = [distance_table(lines), identity_table(lines)]
    # a set without neutral has no probability of it
    if any(line['neutral_generated'] is not None for line in lines):
        shown.insert(1, neutral_table(lines))
    write(dataset, 'references', 'references', 'Generated references', lines, shown)


def main():
    parser = argparse.ArgumentParser(prog='python3 -m tools.references',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', default='demo', help='what was tested (default: demo)')
    dataset = parser.parse_args().dataset
    with ending_well('references'):
        write_references(dataset)


if __name__ == '__main__':
    main()
