"""The tables of a data set, from every prediction in runs/<dataset>/results.csv, beside the paper's
figures.

    python3 -m tools.tables --dataset demo

writes runs/<dataset>/tables.md, to read as it is, and tables.csv, the same values unrounded, one a
line. With --frequencies, tables_frequencies.md and .csv: what the same networks say once the
frequencies of the classes, which the setting `balance` takes out of their probabilities, are back
in, so that accuracy is asked of them and not balanced accuracy.

Rows here are a dict of arrays of one length, an entry a tested image of a run: variant, fold, seed,
iterations, subject, image (subject/sequence/frame), truth, and value, 1 or 0: whether the image
counts. For an accuracy those count that were recognised, for an error the others.
"""
import argparse
import collections
import csv
import io
import itertools
from pathlib import Path

import numpy as np
from scipy import stats

from data_prep.folds import FOLDS
from prototxt.net import GCNETS
from tools.core import class_balance, files, plots, predictions, run_folder
from tools.figures import figure4_depth

NAMES = {'hog': 'HOG + linear SVM', 'lbp': 'LBP + linear SVM', 'cnn': 'CNN', 'metric': 'metric-learning CNN',
         **{name: f'GCNet {name.upper()}' for name in GCNETS}}
PAPER = Path(__file__).with_name('core') / 'paper.csv'  # the authors' own rows of its Tables 2 to 5
DEPTH = Path('data/raw/demo/depth.csv')        # known of the drawn faces alone
DRAWS, SEED = 10000, 1                         # of the bootstrap
BLOCK = 10 ** 6                                # numbers drawn at once: bounds the memory
# people who differ: below, the normal approximation is poor
LEAST = 10
NOT_RUN = 'not run'

# rows: a dict a line, all with the same keys
Table = collections.namedtuple('Table', 'title rows notes')


def read(dataset, frequencies=False):
    """The rows of all runs of a data set, and its classes; SystemExit where there are no good ones.
    frequencies: as with_frequencies predicts."""
    found = predictions.read(Path('runs', dataset, 'results.csv'))
    if frequencies:
        found['predicted'] = with_frequencies(dataset, found)
    rows = {name: found[name] for name in ('variant', 'fold', 'seed', 'iterations', 'subject', 'truth')}
    images = zip(found['subject'], found['sequence'], found['frame'])
    rows['image'] = np.array(['/'.join(names) for names in images])
    rows['value'] = (found['truth'] == found['predicted']).astype(float)
    return rows, found['classes']


def with_frequencies(dataset, found):
    """The class that each row of predictions.read calls for with the classes' frequencies back in,
    see class_balance.with_frequencies; SystemExit where the run.json of a row is missing."""
    classes = np.array(found['classes'])
    predicted = found['predicted'].astype(classes.dtype)  # as wide as the longest name
    for variant, fold, seed in sorted(set(zip(*(found[name].tolist() for name in ('variant', 'fold', 'seed'))))):
        run = run_folder.read_settings(run_folder.folder_of(dataset, variant, fold, seed))
        own = (found['variant'] == variant) & (found['fold'] == fold) & (found['seed'] == seed)
        predicted[own] = classes[class_balance.with_frequencies(run, found['scores'][own]).argmax(1)]
    return predicted


def take(rows, mask):
    """The rows where the mask is true."""
    return {name: array[mask] for name, array in rows.items()}


def weights(rows):
    """The weight of each row of one variant: 1 / seeds run on its fold, so that every image counts
    once."""
    seeds = collections.Counter(fold for fold, _ in runs_of(rows))
    return np.array([1 / seeds[fold] for fold in rows['fold']])


def runs_of(rows):
    """The (fold, seed) pairs of one variant's rows."""
    return set(zip(rows['fold'].tolist(), rows['seed'].tolist()))


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
    """The rows of two variants in the folds and seeds that both have; SystemExit if their images
    differ."""
    a, b = (take(rows, rows['variant'] == name) for name in (variant, base))
    both = runs_of(a) & runs_of(b)
    a, b = (take(rows, np.array([run in both for run in zip(rows['fold'], rows['seed'])], bool))
            for rows in (a, b))
    if sorted(zip(a['fold'], a['seed'], a['image'])) != sorted(zip(b['fold'], b['seed'], b['image'])):
        raise SystemExit(f'{variant} and {base} were not tested on the same images: '
                         'train and test the older of them again.')
    return a, b


def by_person(rows, by_class=False):
    """(sums of values, numbers of images) of one variant, weighted: arrays, an element a person, or
    people x true classes."""
    people, index = np.unique(rows['subject'], return_inverse=True)
    shape = [len(people)]
    if by_class:
        classes, kind = np.unique(rows['truth'], return_inverse=True)
        shape.append(len(classes))
        index = index * len(classes) + kind
    weight = weights(rows)
    return tuple(np.bincount(index, values, np.prod(shape)).reshape(shape) for values in (weight * rows['value'], weight))


def bootstrap(gain, total, draws=DRAWS, seed=SEED):
    """The 95 % percentile interval of sum(gain) / sum(total), the people drawn with replacement.

    gain, total: arrays, an element a person; or people x classes, for the mean over the classes
    that were drawn.
    """
    random = np.random.default_rng(seed)
    block = max(1, BLOCK // gain.size)
    ratios = []
    for start in range(0, draws, block):
        chosen = random.integers(len(gain), size=(min(block, draws - start), len(gain)))
        with np.errstate(invalid='ignore', divide='ignore'):  # nothing drawn to divide by
            ratios.append(gain[chosen].sum(1) / total[chosen].sum(1))
    ratios = np.concatenate(ratios)
    return np.nanpercentile(np.nanmean(ratios, axis=1) if ratios.ndim > 1 else ratios, [2.5, 97.5])


def signed_rank(differences):
    """(p, people who differ) of Wilcoxon's signed-rank test, two-sided; p None with fewer than
    LEAST of them.

    People without a difference are left out, as Wilcoxon did. Ties get mean ranks: hence the normal
    approximation.
    """
    differences = np.round(differences, 9)  # what is equal must be equal for the ranks
    differing = np.count_nonzero(differences)
    if differing < LEAST:
        return None, differing
    test = stats.wilcoxon(differences, zero_method='wilcox', mode='approx')
    return float(test.pvalue), differing


def difference(rows, variant, base):
    """A line of a table: mean value of a variant minus another's, on the folds and seeds that both
    have."""
    line = dict.fromkeys(['difference', 'low', 'high', 'p', 'differing', 'people', 'folds', 'seeds'])
    if not {variant, base} <= set(rows['variant']):
        return {**line, 'difference': NOT_RUN}
    a, b = common(rows, variant, base)
    if not len(a['value']):
        return {**line, 'difference': 'no common run'}
    (hits, total), (others, _) = by_person(a), by_person(b)
    line.update(difference=100 * (hits - others).sum() / total.sum(), people=len(total),
                folds=len(set(a['fold'])), seeds=listed(a['seed']))
    line['p'], line['differing'] = signed_rank((hits - others) / total)
    if len(total) > 1:  # of one person there is no spread
        line['low'], line['high'] = 100 * bootstrap(hits - others, total)
    return line


def balanced_difference(rows, variant, base):
    """Of a line of a table: the balanced accuracy of a variant minus another's, in points, on the
    folds and seeds that both have, and its interval; None for each without."""
    line = dict.fromkeys(['balanced difference', 'its low', 'its high'])
    a, b = common(rows, variant, base)
    if not len(a['value']):
        return line
    (hits, total), (others, _) = by_person(a, by_class=True), by_person(b, by_class=True)
    gain = hits - others
    line['balanced difference'] = 100 * np.mean(gain.sum(0) / total.sum(0))
    if len(total) > 1:
        line['its low'], line['its high'] = 100 * bootstrap(gain, total)
    return line


def share(rows, variant, base):
    """Of a line of a table: the values of a variant in % of another's, on the folds and seeds that
    both have, and its interval; None for each without."""
    line = dict.fromkeys(["of the CNN's", 'from', 'to'])
    a, b = common(rows, variant, base)
    if b['value'].any():
        (own, _), (others, _) = by_person(a), by_person(b)
        line["of the CNN's"] = 100 * own.sum() / others.sum()
        line['from'], line['to'] = 100 * bootstrap(own, others)
    return line


def listed(numbers):
    """The different numbers as text, in ascending order."""
    return ', '.join(map(str, np.unique(numbers)))


def accuracy_table(dataset, rows, variants):
    """Accuracy of every variant, beside the paper's."""
    paper = {row['variant']: row for row in plots.table(PAPER) if row['dataset'] == dataset}
    folds = len(list(Path('data', dataset).glob('fold[0-9]'))) or FOLDS
    classes = np.unique(rows['truth'])
    lines, partial = [], []
    for variant in variants:
        own = take(rows, rows['variant'] == variant)
        line = dict.fromkeys(['variant', 'accuracy', 'sd', 'over images', 'balanced', 'paper', 'folds',
                              'people', 'images', 'seeds', 'iterations'])
        line.update(variant=title(variant), accuracy=NOT_RUN,
                    paper=float(paper[variant]['accuracy']) if variant in paper else None)
        lines.append(line)
        if not len(own['value']):
            continue
        each = by_fold(own)
        seeds = np.unique(own['seed'])
        whole = len(runs_of(own)) == folds * len(seeds)
        line.update({'accuracy': each.mean(), 'sd': each.std(ddof=1) if len(each) > 1 else None,
                     'over images': mean(own),
                     'balanced': np.mean([recall for recall in recalls(own, classes) if recall is not None]),
                     'folds': f'{len(each)} of {folds}{"" if whole else " *"}',
                     'people': len(set(own['subject'])), 'images': len(set(own['image'])),
                     'seeds': listed(seeds), 'iterations': listed(own['iterations'])})
        if not whole:
            made = [f'seed {seed}: fold {listed(own["fold"][own["seed"] == seed])}' for seed in seeds]
            partial.append(f'{title(variant)} ({"; ".join(made)})')
    notes = ['accuracy, sd: mean over the test folds and sample standard deviation (n - 1) over them; of '
             'several seeds of a fold first the mean.',
             'over images: share of all images, each by its mean over seeds. balanced: mean of the recalls.',
             'Every network at its last iteration, SVMs have none. Nobody is in training and test of a fold.']
    if len(set(rows['iterations']) - {0}) > 1:
        notes.append('iterations: not all networks were trained equally long; the differences show that too.')
    if partial:
        notes.append(f'* incomplete, not to be quoted: {", ".join(partial)}.')
    if paper:
        number = next(iter(paper.values()))['table']
        notes.append(f'paper: Kim et al., arXiv 1703.07140, Table {number}.')
        if number == '3':
            notes.append('Its last row, 97.28, is printed there as a second S0R0; by its place it is S1R1.')
    return Table('Accuracy on people never seen in training, %', lines, notes)


def title(variant):
    """A variant's name in the tables."""
    return NAMES.get(variant, variant)


COMPARED = [
    f'low, high: 95 % percentile interval of {DRAWS:,} bootstrap draws of people with replacement, '
    f'seed {SEED}.',
    'p: Wilcoxon signed-rank test of the accuracies of each person, paired, two-sided, not corrected for '
    f'several tests, over the people who differ (differing), from {LEAST} of them on.']


def baseline_table(rows, variants):
    """Every variant against the CNN."""
    lines = [{
        'variant': title(variant), **difference(rows, variant, 'cnn'), **balanced_difference(
            rows, variant, 'cnn')
    } for variant in variants if variant != 'cnn']
    return Table('Difference from the CNN, points', lines, [
        'difference: of the shares of all images, on the folds and seeds that both have (folds, seeds).',
        'balanced difference: of the balanced accuracies, its low and high as low and high.',
        *COMPARED
    ])


def parts_table(rows):
    """The GCNets among each other: what contrast and reconstruction bring."""
    lines = []
    for base, variant in itertools.combinations(GCNETS, 2):
        lines.append({'difference of': f'{variant.upper()} - {base.upper()}',
                      'what differs': parts(base, variant), **difference(rows, variant, base)})
    return Table('What contrast (S) and reconstruction (R) bring to GCNet, points', lines, [
        'The columns are those of the table before, without the balanced difference; each pair on the folds and seeds that both '
        'have.'
    ])


def parts(base, variant):
    """In words what the second of two GCNets (s0r0 to s1r1) has more than the first, or less."""
    signs = {
        name: int(variant[i]) - int(base[i])
        for name, i in (('contrast', 1), ('reconstruction', 3))
    }
    return ', '.join(f'{"+" if sign > 0 else "-"} {name}' for name, sign in signs.items() if sign)


def recall_table(rows, variants, classes):
    """Recall of every class."""
    lines = []
    for variant in variants:
        found = recalls(take(rows, rows['variant'] == variant), classes)
        if variant not in rows['variant']:
            found[0] = NOT_RUN
        lines.append({'variant': title(variant), **dict(zip(classes, found))})
    return Table('Recall of each class, %', lines, [
        'The share of the images of a class that were recognised, each by its mean over seeds.'])


def depth_table(rows, variants):
    """Error on weak expressions, those in the lowest third of the known depth, and on the others;
    the paper's Figure 4 shows such faces. SystemExit where an image has no depth."""
    depth_of = {
        '/'.join(map(str, names)): value
        for names, value in figure4_depth.read_depths(DEPTH).items()
    }
    unknown = [image for image in rows['image'] if image not in depth_of]
    if unknown:
        raise SystemExit(
            f'{DEPTH} has no depth of {unknown[0]}: the results are of other drawn faces.')
    third = np.quantile([depth_of[image] for image in set(rows['image'])], 1 / 3)
    weak = np.array([depth_of[image] <= third for image in rows['image']])
    errors = {**rows, 'value': 1 - rows['value']}
    lines = []
    for variant in variants:
        own = rows['variant'] == variant
        compared = {} if variant == 'cnn' else {**difference(take(errors, weak), variant, 'cnn'),
                                                **share(take(errors, weak), variant, 'cnn')}
        lines.append({
            'variant': title(variant),
            'error, weak': mean(take(errors, own & weak)) if own.any() else NOT_RUN,
            'error, others': mean(take(errors, own & ~weak)),
            'images, weak': len(set(rows['image'][own & weak])) if own.any() else None, **{
                name: compared.get(name)
                for name in ('difference', 'low', 'high', "of the CNN's", 'from', 'to', 'people', 'folds', 'seeds')
            }
        })
    return Table('Error on weak expressions (lowest third of depth), %', lines, [
        f'weak: drawn with a depth of at most {third:.3f}, a third of the tested images; others: all above.',
        'difference, low, high: error on weak expressions minus the CNN\'s, as above; below 0 is better.',
        "of the CNN's, from, to: the same errors in % of the CNN's, and the interval; the paper has \"approximately twice less\"."
    ])


def cell(column, value):
    """A value as text."""
    if value is None:
        return '-'
    if not isinstance(value, float):
        return str(value)
    if column == 'p':
        return '<0.001' if value < 0.001 else f'{value:.3f}'
    if column in ('difference', 'low', 'high', 'balanced difference', 'its low', 'its high'):
        return f'{value:+.1f}'
    return f'{value:.2f}' if column == 'paper' else f'{value:.1f}'  # the paper's as it is printed


def markdown(table):
    """A Table as Markdown that is aligned as plain text too."""
    columns = list(table.rows[0])
    lines = [columns] + [[cell(name, row[name]) for name in columns] for row in table.rows]
    left = [
        i for i, name in enumerate(columns) if name in ('variant', 'difference of', 'what differs')
    ]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(columns))]
    text = [
        '| ' + ' | '.join(
            value.ljust(width) if i in left else value.rjust(width)
            for i, (value, width) in enumerate(zip(line, widths))) + ' |'
        for line in lines
    ]
    text.insert(1, '| ' + ' | '.join('-' * width if i in left else '-' * (width - 1) + ':'
                                     for i, width in enumerate(widths)) + ' |')
    return '\n'.join(
        [f'## {table.title}', '', *text, '', *(f'- {note}' for note in table.notes), ''])


def as_csv(tables):
    """Every value that there is, unrounded, one a line: table, row, column, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['table', 'row', 'column', 'value'])
    for table in tables:
        for row in table.rows:
            (_, name), *values = row.items()
            writer.writerows([table.title, name, column, value]
                             for column, value in values if value is not None)
    return text.getvalue()


def make(dataset, frequencies=False):
    """The Tables of a data set, from its results; SystemExit where there are none. frequencies: see
    read."""
    rows, classes = read(dataset, frequencies)
    variants = [*NAMES, *sorted(set(rows['variant']) - set(NAMES))]
    tables = [
        accuracy_table(dataset, rows, variants),
        baseline_table(rows, variants),
        parts_table(rows),
        recall_table(rows, variants, classes)
    ]
    if dataset == 'demo' and DEPTH.is_file():
        tables.append(depth_table(rows, variants))
    return tables


def main():
    parser = argparse.ArgumentParser(prog='python3 -m tools.tables',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', default='demo', help='what was tested (default: demo)')
    parser.add_argument(
        '--frequencies', action='store_true',
        help="with the classes' frequencies back in what was trained with `balance`")
    options = parser.parse_args()
    tables = make(options.dataset, options.frequencies)
    path = Path('runs', options.dataset, 'tables' + '_frequencies' * options.frequencies)
    made = (
        f'Made by `python3 -m tools.tables --dataset {options.dataset}{" --frequencies" * options.frequencies}` '
        f'from runs/{options.dataset}/results.csv.')
    if options.frequencies:
        made += ' Networks trained with `balance`: their probabilities times the frequency of each class in training.'
    text = '\n'.join([f'# Results on {options.dataset}', '', made, '', *map(markdown, tables)])
    try:
        files.write(path.with_suffix('.csv'), as_csv(tables))
        files.write(path.with_suffix('.md'), text)
    except OSError as error:
        raise SystemExit(f'The tables cannot be written: {error}.') from None
    print(text)
    print(f'tables: {path.with_suffix(".md")}, {path.with_suffix(".csv")}')


if __name__ == '__main__':
    main()
