"""The tables of a data set, from every prediction in runs/<dataset>/results.csv.

    python3 -m tools.tables --dataset demo

writes runs/<dataset>/tables.md, to read as it is, and tables.csv, the same values unrounded, one a
line. With --frequencies, tables_frequencies.md and .csv: what the same networks say once the
frequencies of the classes, which the setting `balance` takes out of their probabilities, are back
in, so that accuracy is asked of them and not balanced accuracy. Of a data set that the paper has,
its whole table stands there too, each method as published.

Rows are those of tools/core/intervals.py.
"""
import argparse
import itertools
import re
from pathlib import Path

import numpy as np

from data_prep import datasets, spreadsheet
from data_prep.folds import FOLDS
from prototxt.net import GCNETS
from tools.core import (
    class_balance,
    files,
    fold_data,
    intervals,
    predictions,
    run_folder,
    verdict,
)
from tools.core.intervals import NOT_RUN, by_fold, listed, mean, recalls, take
from tools.core.markdown import Table, as_csv, column_of, escape, markdown
from tools.core.titles import LISTED, title
from tools.figures import figure4_depth

PAPER = Path(__file__).with_name('core') / 'paper.csv'  # its Tables 2 to 5, row by row
PAPER_ITERATIONS = 300000
DEPTH = Path('data/raw/demo/depth.csv')  # known of the drawn faces alone


def read_rows(dataset, frequencies=False):
    """The rows of all runs of a data set, and its classes.

    SystemExit where there are no good ones. frequencies: as with_frequencies predicts.
    """
    results = predictions.read_results(Path('runs', dataset, 'results.csv'))
    check_runs(dataset, results)
    if frequencies:
        results['predicted'] = with_frequencies(dataset, results)
    columns = ('variant', 'fold', 'seed', 'iterations', 'subject', 'truth')
    rows = {name: results[name] for name in columns}
    images = zip(results['subject'], results['sequence'], results['frame'])
    rows['image'] = np.array(['/'.join(names) for names in images])
    rows['value'] = (results['truth'] == results['predicted']).astype(float)
    return rows, results['classes']


def runs_in(results):
    """The (variant, fold, seed) of each run, ascending."""
    return sorted(set(zip(*(results[name].tolist() for name in ('variant', 'fold', 'seed')))))


def check_runs(dataset, results):
    """SystemExit where a run was trained on data that is gone. A run of which only the results are
    here is compared by its test images alone, as predictions.read_results does."""
    for run in runs_in(results):
        folder = run_folder.folder_of(dataset, *run)
        if (folder / 'run.json').is_file():
            predictions.check_data(folder, run_folder.read_settings(folder))


def with_frequencies(dataset, results):
    """The class that each row of predictions.read_results calls for with the classes' frequencies
    back in, see class_balance.with_frequencies; SystemExit where the run.json of a row is
    missing."""
    classes = np.array(results['classes'])
    predicted = results['predicted'].astype(classes.dtype)  # as wide as the longest name
    for variant, fold, seed in runs_in(results):
        run = run_folder.read_settings(run_folder.folder_of(dataset, variant, fold, seed))
        own = (results['variant'] == variant) & (results['fold'] == fold)
        own &= results['seed'] == seed
        scores = class_balance.with_frequencies(run, results['scores'][own])
        predicted[own] = classes[scores.argmax(1)]
    return predicted


def accuracy_table(dataset, rows, variants):
    """Accuracy of every variant."""
    folds = len(list(Path('data', dataset).glob('fold[0-9]'))) or FOLDS
    classes = np.unique(rows['truth'])
    lines, partial, mixed = [], [], []
    for variant in variants:
        own = take(rows, rows['variant'] == variant)
        names = unlike(dataset, runs_in(own))
        if names:
            mixed.append(f'{escape(title(variant))} ({", ".join(names)})')
        line = accuracy_line(own, classes, folds)
        lines.append({'variant': title(variant), **line})
        if str(line['folds']).endswith('*'):
            made = [f'seed {seed}: fold {listed(own["fold"][own["seed"] == seed])}'
                    for seed in np.unique(own['seed'])]
            partial.append(f'{escape(title(variant))} ({"; ".join(made)})')

    notes = ['accuracy, sd: mean over the test folds and sample standard deviation (n - 1) over '
             'them; of several seeds of a fold first the mean.',
             'over images: share of all images, each by its mean over seeds. balanced: mean of the '
             'recalls.',
             f'Every network at its last iteration, SVMs have none. {tell_people(dataset)}']
    if len(set(rows['iterations']) - {0}) > 1:
        notes.append('iterations: not all networks were trained equally long; the differences show '
                     'that too.')
    if partial:
        notes.append(f'* incomplete, not to be quoted: {", ".join(partial)}.')
    if mixed:
        notes.append('Not to be quoted either, the mean of different experiments, whose settings '
                     f'differ: {", ".join(mixed)}.')
    return Table(verdict.ACCURACY, lines, notes)


def unlike(dataset, runs):
    """The names of the settings in which these runs, (variant, fold, seed) each, were trained
    otherwise than another of them; [] also where only their results are here."""
    trained = []
    for run in runs:
        folder = run_folder.folder_of(dataset, *run)
        if (folder / 'run.json').is_file():
            told = run_folder.read_settings(folder)
            # As they were asked for, {fold} and {seed} in it: each run may have its own.
            asked = re.search(r'--weights[ =](\S+)', told.get('command', ''))
            trained.append({**told.get('settings', {}), 'LR': told.get('base_lr'),
                            'BATCH': told.get('batch'),
                            'WEIGHTS': asked[1].strip("'") if asked else ''})
    return sorted({name for one in trained for name in {*one, *trained[0]}
                   if one.get(name) != trained[0].get(name)})


def tell_people(dataset):
    """A sentence on whether the people in the test of a fold are new to its networks."""
    if not datasets.knows_people(dataset):
        return 'Who is on a picture is not known: each counts as a person.'
    both = fold_data.in_both_parts(dataset)
    if both:
        return (f'{len(both)} people are in training and test of a fold, as the set is split: what '
                'is said here is not of new people.')
    return 'Nobody is in training and test of a fold.'


def accuracy_line(own, classes, folds):
    """The accuracies of one variant's rows and what they are of; `folds` is how many the set
    has, and fewer get a star."""
    line = dict.fromkeys(['accuracy', 'sd', 'over images', 'balanced', 'folds', 'people', 'images',
                          'seeds', 'iterations'])
    if not len(own['value']):
        return {**line, 'accuracy': NOT_RUN}

    # Every fold with every seed, or the mean is of easier or harder people than the others'.
    each, seeds = by_fold(own), np.unique(own['seed'])
    whole = len(intervals.runs_of(own)) == folds * len(seeds)
    present = [recall for recall in recalls(own, classes) if recall is not None]
    line.update({
        'accuracy': each.mean(), 'sd': each.std(ddof=1) if len(each) > 1 else None,
        'over images': mean(own), 'balanced': np.mean(present),
        'folds': f'{len(each)} of {folds}{"" if whole else " *"}',
        'people': len(set(own['subject'])), 'images': len(set(own['image'])),
        'seeds': listed(seeds), 'iterations': listed(own['iterations'])
    })
    return line


def published_rows(dataset):
    """The rows of paper.csv of a data set, none for one that the paper does not have."""
    return [row for row in spreadsheet.read_csv(PAPER) if row['dataset'] == dataset]


def published_table(dataset, rows, unknown=None):
    """The paper's whole table of a data set, in its order, and what was measured here beside it.

    rows: with the frequencies of the classes in, since the paper's figures are accuracies; where
    that cannot be, `unknown` says why.
    """
    paper, lines = published_rows(dataset), []
    for row in paper:
        own = take(rows, rows['variant'] == row['variant'])
        here = by_fold(own)
        if row['variant']:
            measured = here.mean() if len(here) else NOT_RUN
        else:
            measured = None  # other people's methods are quoted alone
        lines.append({
            'method': row['method'], 'as published': row['accuracy'], 'here': measured,
            'sd': here.std(ddof=1) if len(here) > 1 else None, 'folds': len(here) or None,
            'iterations': listed(own['iterations']) if len(here) else None
        })

    number = paper[0]['table']
    judged = ('What was trained with `balance` is judged with the frequencies of the classes back '
              'in: the published figures are accuracies.')
    if unknown:
        judged = ('Whether this was trained with `balance`, and so for another measure than the '
                  f'published accuracy, is not known: {escape(unknown)}')
    notes = [f'as published: Kim et al., arXiv 1703.07140, Table {number}, as it is printed there; '
             'the numbers in brackets are of its references. Nothing of it was measured here.',
             f'here: mean over the test folds, %. {judged}']
    if number == '3':
        notes.append('Its last row, 97.28, is printed there as a second S0R0; by its place it is '
                     'S1R1.')
    shortened = set(rows['iterations'].tolist()) - {0, PAPER_ITERATIONS}
    if shortened:
        notes.append(f'iterations: the paper trains {PAPER_ITERATIONS:,}; what was trained here '
                     f'for {listed(sorted(shortened))} is no repetition of its figures.')
    return Table(f'Table {number} of the paper, whole, and what was measured here, %', lines, notes)


COMPARED = [
    f'low, high: 95 % percentile interval of {intervals.DRAWS:,} bootstrap draws, seed '
    f'{intervals.SEED}: the test folds with replacement, since the people of a fold were judged by '
    'one network, and the people within each with replacement.',
    'p: Wilcoxon signed-rank test of the accuracies of each person, paired, two-sided, not '
    'corrected for several tests, over the people who differ (differing), from '
    f'{intervals.LEAST} of them on. It takes people as independent, which those of a fold are not: '
    'where it and the interval disagree, the interval holds.']


def limits(lines):
    """Notes on what low and high of lines of intervals.difference do not hold."""
    compared = [line for line in lines if line['folds']]
    notes = []
    if any(line['folds'] == 1 for line in compared):
        notes.append('Of one fold, low and high are of its people alone: another network could be '
                     'better or worse by more.')
    if any(',' not in line['seeds'] for line in compared):
        notes.append('Of one seed, the order of two networks is not shown: what another training '
                     'with other random numbers would change is not in low and high.')
    return notes


def baseline_table(rows, variants):
    """Every variant against the CNN."""
    lines = [{
        'variant': title(variant), **intervals.difference(rows, variant, 'cnn'),
        **intervals.balanced_difference(rows, variant, 'cnn')
    } for variant in variants if variant != 'cnn']
    return Table(verdict.DIFFERENCE, lines, [
        'difference: of the shares of all images, on the folds and seeds that both have (folds, '
        'seeds).',
        'balanced difference: of the balanced accuracies, its low and high as low and high.',
        *COMPARED, *limits(lines)])


def parts_table(rows):
    """The GCNets among each other: what contrast and reconstruction bring."""
    lines = [{
        'difference of': f'{variant.upper()} - {base.upper()}',
        'what differs': parts(base, variant), **intervals.difference(rows, variant, base)
    } for base, variant in itertools.combinations(GCNETS, 2)]
    return Table('What contrast (S) and reconstruction (R) bring to GCNet, points', lines, [
        'The columns are those of the table before, without the balanced difference; each pair on '
        'the folds and seeds that both have.', *limits(lines)])


def parts(base, variant):
    """In words what the second of two GCNets (s0r0 to s1r1) has more than the first, or less."""
    signs = {name: int(variant[i]) - int(base[i])
             for name, i in (('contrast', 1), ('reconstruction', 3))}
    return ', '.join(f'{"+" if sign > 0 else "-"} {name}' for name, sign in signs.items() if sign)


def recall_table(rows, variants, classes):
    """Recall of every class."""
    columns = [column_of(name) for name in classes]
    lines = []
    for variant in variants:
        shares = recalls(take(rows, rows['variant'] == variant), classes)
        if variant not in rows['variant']:
            shares[0] = NOT_RUN
        lines.append({'variant': title(variant), **dict(zip(columns, shares))})
    return Table('Recall of each class, %', lines, [
        'The share of the images of a class that were recognised, each by its mean over seeds.'])


def depth_table(rows, variants):
    """Error on weak expressions, those in the lowest third of the known depth, and on the others;
    the paper's Figure 4 shows such faces. SystemExit where an image has no depth."""
    known = figure4_depth.read_depths(DEPTH)
    depth_of = {'/'.join(map(str, names)): value for names, value in known.items()}
    unknown = [image for image in rows['image'] if image not in depth_of]
    if unknown:
        raise SystemExit(
            f'{DEPTH} has no depth of {unknown[0]}: the results are of other drawn faces.')

    # Of the images, each once, not of the rows: a variant with more seeds has no more weight.
    third = np.quantile([depth_of[image] for image in set(rows['image'])], 1 / 3)
    weak = np.array([depth_of[image] <= third for image in rows['image']])

    errors = {**rows, 'value': 1 - rows['value']}
    lines = []
    for variant in variants:
        own = rows['variant'] == variant
        compared = {}
        if variant != 'cnn':
            compared = {**intervals.difference(take(errors, weak), variant, 'cnn'),
                        **intervals.share(take(errors, weak), variant, 'cnn')}
        shown = ('difference', 'low', 'high', "of the CNN's", 'from', 'to', 'people', 'folds',
                 'seeds')
        lines.append({
            'variant': title(variant),
            'error, weak': mean(take(errors, own & weak)) if own.any() else NOT_RUN,
            'error, others': mean(take(errors, own & ~weak)),
            'images, weak': len(set(rows['image'][own & weak])) if own.any() else None,
            **{name: compared.get(name) for name in shown}
        })
    return Table('Error on weak expressions (lowest third of depth), %', lines, [
        f'weak: drawn with a depth of at most {third:.3f}, a third of the tested images; others: '
        'all above.',
        'difference, low, high: error on weak expressions minus the CNN\'s, as above; below 0 is '
        'better.',
        "of the CNN's, from, to: the same errors in % of the CNN's, and the interval; the paper "
        'has "approximately twice less".'])


def make_tables(dataset, frequencies=False):
    """The Tables of a data set, from its results.

    SystemExit where there are none. frequencies: see read_rows.
    """
    rows, classes = read_rows(dataset, frequencies)
    variants = [*LISTED, *sorted(set(rows['variant']) - set(LISTED))]
    tables = [accuracy_table(dataset, rows, variants), baseline_table(rows, variants),
              parts_table(rows), recall_table(rows, variants, classes)]
    if published_rows(dataset):
        try:
            table = published_table(dataset, read_rows(dataset, frequencies=True)[0])
        except SystemExit as error:  # results from elsewhere, without their run folders
            table = published_table(dataset, rows, str(error))
        tables.insert(1, table)
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
    dataset = options.dataset
    tables = make_tables(dataset, options.frequencies)

    command = f'python3 -m tools.tables --dataset {dataset}'
    command += ' --frequencies' * options.frequencies
    heading = f'# Results on {escape(dataset)}'
    made = f'Made by `{command}` from runs/{dataset}/results.csv.'
    if options.frequencies:
        heading += ", with the classes' frequencies back in"
        made += (' Networks trained with `balance`: their probabilities times the frequency of '
                 'each class in training.')
    text = '\n'.join([heading, '', made, '', *map(markdown, tables)])

    path = Path('runs', dataset, 'tables' + '_frequencies' * options.frequencies)
    try:
        files.write(path.with_suffix('.csv'), as_csv(tables))
        files.write(path.with_suffix('.md'), text)
    except OSError as error:
        raise SystemExit(f'The tables cannot be written: {error}.') from None
    print(text)
    print(f'tables: {path.with_suffix(".md")}, {path.with_suffix(".csv")}')


if __name__ == '__main__':
    main()
