"""How much a number of the tables is worth: means, differences, and their intervals.

Rows here are a dict of arrays of one length, an entry a tested image of a run: variant, fold, seed,
iterations, subject, image (subject/sequence/frame), truth, and value. For an accuracy that is 1 for
those that were recognised and 0 for the others, for an error the other way round; measured.py has
other measures in it.

All people of a test fold were judged by one network. If it happens to be a poor one, all of them
are judged worse, so they are not independent: an interval draws folds first, and then people
within each of them.
"""
import collections

import numpy as np
from scipy import stats

DRAWS, SEED = 10000, 1  # of the bootstrap
BLOCK = 10 ** 6         # numbers drawn at once: bounds the memory
LEAST = 10              # people who differ: below, the normal approximation is poor
NOT_RUN = 'not run'

# gain and total: an element a person, or people x classes; folds: the test fold of each person
People = collections.namedtuple('People', 'gain total folds')


def take(rows, mask):
    """The rows where the mask is true."""
    return {name: array[mask] for name, array in rows.items()}


def runs_of(rows):
    """The (fold, seed) pairs of one variant's rows."""
    return set(zip(rows['fold'].tolist(), rows['seed'].tolist()))


def weights(rows):
    """The weight of each row of one variant: 1 / seeds run on its fold.

    So every image counts once.
    """
    seeds = collections.Counter(fold for fold, _ in runs_of(rows))
    return np.array([1 / seeds[fold] for fold in rows['fold']])


def mean(rows):
    """The weighted mean value of the rows of one variant, in %; None without rows."""
    return 100 * np.average(rows['value'], weights=weights(rows)) if len(rows['value']) else None


def by_fold(rows):
    """The mean value in each fold of one variant, in %, in ascending order of folds."""
    return np.array([mean(take(rows, rows['fold'] == fold)) for fold in np.unique(rows['fold'])])


def recalls(rows, classes):
    """The mean value of one variant in each true class, in %; None for a class without an image."""
    return [mean(take(rows, rows['truth'] == name)) for name in classes]


def common(rows, variant, base):
    """The rows of two variants in the folds and seeds that both have.

    SystemExit if their images differ.
    """
    of_variant, of_base = (take(rows, rows['variant'] == name) for name in (variant, base))
    both = runs_of(of_variant) & runs_of(of_base)
    pair = []
    for own in (of_variant, of_base):
        runs = zip(own['fold'].tolist(), own['seed'].tolist())
        pair.append(take(own, np.array([run in both for run in runs], bool)))

    tested = [sorted(zip(own['fold'], own['seed'], own['image'])) for own in pair]
    if tested[0] != tested[1]:
        raise SystemExit(f'{variant} and {base} were not tested on the same images: '
                         'train and test the older of them again.')
    return pair


def by_person(rows, by_class=False):
    """The People of one variant's rows: the weighted sum of their values as gain, and the weighted
    number of their images as total; an element a person of a fold, or with by_class people x true
    classes."""
    subjects, subject = np.unique(rows['subject'], return_inverse=True)
    # ascending by fold, then by name
    people, index = np.unique(rows['fold'] * len(subjects) + subject, return_inverse=True)
    shape = [len(people)]
    if by_class:
        classes, kind = np.unique(rows['truth'], return_inverse=True)
        shape.append(len(classes))
        index = index * len(classes) + kind

    weight = weights(rows)
    gain, total = (np.bincount(index, values, np.prod(shape)).reshape(shape)
                   for values in (weight * rows['value'], weight))
    return People(gain, total, people // max(1, len(subjects)))


def draw_ratios(people, draws=DRAWS, seed=SEED):
    """sum(gain) / sum(total) of each of so many draws: `draws` values, or draws x classes; nan
    where nobody drawn has an image.

    A draw takes as many folds as there are, with replacement, and from each fold drawn as many
    people as it has, with replacement.
    """
    _, fold_of = np.unique(people.folds, return_inverse=True)
    sizes = np.bincount(fold_of)
    starts = np.cumsum(sizes) - sizes
    order = np.argsort(fold_of, kind='stable')  # fold by fold
    # After the last person comes nobody, who fills the places that a smaller fold leaves empty.
    gain, total = (np.concatenate([values[order], np.zeros_like(values[:1])])
                   for values in (people.gain, people.total))
    places = np.arange(sizes.max())

    # Two streams, so that a draw does not depend on how many are drawn at once.
    folds_random, people_random = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    block = max(1, BLOCK // (len(sizes) * gain[0].size * len(places)))
    ratios = []
    for start in range(0, draws, block):
        n = min(block, draws - start)
        chosen = folds_random.integers(len(sizes), size=(n, len(sizes), 1))
        share = people_random.random((n, len(sizes), len(places)))
        person = starts[chosen] + (share * sizes[chosen]).astype(int)
        person[places >= sizes[chosen]] = len(order)
        with np.errstate(invalid='ignore', divide='ignore'):  # nothing drawn to divide by
            ratios.append(gain[person].sum((1, 2)) / total[person].sum((1, 2)))
    return np.concatenate(ratios)


def bootstrap(people, draws=DRAWS, seed=SEED):
    """The 95 % percentile interval of sum(gain) / sum(total) over draws of folds and people; of
    people x classes, of the mean over the classes that were drawn."""
    # A class that nobody drawn shows has no recall in that draw, and no part in its mean.
    ratios = draw_ratios(people, draws, seed)
    return np.nanpercentile(np.nanmean(ratios, axis=1) if ratios.ndim > 1 else ratios, [2.5, 97.5])


def signed_rank(differences):
    """(p, people who differ) of Wilcoxon's signed-rank test, two-sided.

    p is None with fewer than LEAST of them. People without a difference are left out, as Wilcoxon
    did. Ties get mean ranks: hence the normal approximation.
    """
    differences = np.round(differences, 9)  # what is equal but for rounding must share a rank
    differing = np.count_nonzero(differences)
    if differing < LEAST:
        return None, differing
    test = stats.wilcoxon(differences, zero_method='wilcox', mode='approx')
    return float(test.pvalue), differing


def difference(rows, variant, base):
    """A line of a table: mean value of a variant minus another's, on folds and seeds of both."""
    line = dict.fromkeys(('difference', 'low', 'high', 'p', 'differing', 'people', 'folds',
                          'seeds'))
    if not {variant, base} <= set(rows['variant']):
        return {**line, 'difference': NOT_RUN}
    # What only one of them was tested on may be easy or hard: it has no part.
    pair = common(rows, variant, base)
    if not len(pair[0]['value']):
        return {**line, 'difference': 'no common run'}

    own, other = map(by_person, pair)
    gain = own.gain - other.gain
    line.update(difference=100 * gain.sum() / own.total.sum(), people=len(gain),
                folds=len(set(own.folds)), seeds=listed(pair[0]['seed']))
    # A person's images are alike: people are what is independent, not images.
    line['p'], line['differing'] = signed_rank(gain / own.total)
    if len(gain) > 1:  # of one person there is no spread
        line['low'], line['high'] = 100 * bootstrap(own._replace(gain=gain))
    return line


def balanced_difference(rows, variant, base):
    """Of a line of a table: the balanced accuracy of a variant minus another's, in points, on the
    folds and seeds that both have, and its interval; None for each without."""
    line = dict.fromkeys(['balanced difference', 'its low', 'its high'])
    pair = common(rows, variant, base)
    if not len(pair[0]['value']):
        return line

    own, other = (by_person(of, by_class=True) for of in pair)
    gain = own.gain - other.gain
    line['balanced difference'] = 100 * np.mean(gain.sum(0) / own.total.sum(0))
    if len(gain) > 1:
        line['its low'], line['its high'] = 100 * bootstrap(own._replace(gain=gain))
    return line


def share(rows, variant, base):
    """Of a line of a table: the values of a variant in % of another's, on the folds and seeds that
    both have, and its interval; None for each without, or where the interval has no upper end."""
    line = dict.fromkeys(["of the CNN's", 'from', 'to'])
    pair = common(rows, variant, base)
    if pair[1]['value'].any():
        own, other = map(by_person, pair)
        ratio = own._replace(total=other.gain)
        line["of the CNN's"] = 100 * ratio.gain.sum() / ratio.total.sum()
        low, high = 100 * bootstrap(ratio)
        # Where the other has few, many draws hold none of them.
        if len(own.gain) > 1 and np.isfinite(high):
            line['from'], line['to'] = low, high
    return line


def listed(numbers):
    """The different numbers as text, in ascending order."""
    return ', '.join(map(str, np.unique(numbers)))
