"""The expressions of test people, drawn on the faces of others by DE-GAN."""
import numpy as np

from prototxt import neighbours, net
from tools.core import network, plots, run_folder, tested_run

SEED = 1  # of who is drawn on whom
COLUMNS = 8


def load(folder, dataset, fold):
    """The drawing network of a tested DE-GAN, with its last weights; SystemExit where it is damaged
    or of other data."""
    given = run_folder.read_settings(folder).get('settings', {})
    try:
        settings = net.known('degan', {name: given[name] for name in given if name in net.SETTINGS})
    except ValueError as error:
        raise SystemExit(f'{folder}/run.json: {error}: remove {folder} and train again.') from None
    return tested_run.load_tested(folder, dataset, fold, neighbours.redraw(settings))


def pair_people(people, labels, referred, seed=SEED):
    """(sources, truths): indices of images, and of images of somebody else with the same
    expression, drawn at random.

    people, labels: N, of any kind; referred: N booleans. The expression of a source is to be drawn
    on the reference of its truth, which is the face that should come out. Who is alone with an
    expression is no source.
    """
    random, pairs = np.random.RandomState(seed), []
    for i in range(len(people)):
        others = np.flatnonzero(referred & (labels == labels[i]) & (people != people[i]))
        if len(others):
            pairs.append((i, random.choice(others)))
    return np.array(pairs, int).reshape(-1, 2).T


def redraw(made, queries, people):
    """The expressions of `queries` on the neutral faces `people`, each N x 1 x 64 x 64."""
    return network.run(made, queries, person=people)['drawn']


def distance(pictures, others):
    """L2 over 64 x 64 pixels in [0, 1], mean over the pictures."""
    return float(np.sqrt(((pictures - others) ** 2).sum((1, 2, 3))).mean())


def draw(path, made, rows, queries, references, labels, classes):
    """The figure, of a test part as fold_data.read_part gives it; why there is none, where there
    is none. It tells how far the drawn faces are from the true ones."""
    people = np.array([row['subject'] for row in rows])
    sources, truths = pair_people(people, labels, references.any(axis=(1, 2, 3)))
    if not len(sources):
        return 'no two test people with a reference show the same expression'
    neutral, true = references[truths], queries[truths]
    drawn = redraw(made, queries[sources], neutral)
    said = (f'{len(sources)} faces, L2 from the true one: drawn {distance(drawn, true):.2f}, '
            f'neutral {distance(neutral, true):.2f}')
    print(f'Expressions drawn on others: {said}.')

    chosen = plots.one_of_each(labels[sources], COLUMNS, SEED)
    shown = [('expression', queries[sources]), ('person', neutral), ('drawn', drawn),
             ('true', true)]
    below = [(classes[labels[sources[i]]], people[sources[i]], f'on {people[truths[i]]}')
             for i in chosen]
    plots.columns(path, [(name, images[chosen, 0]) for name, images in shown], below, said)
