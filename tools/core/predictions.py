"""Every prediction of every tested run of a data set in one CSV, a line a test image of a run.

    python3 -m tools.core.predictions --dataset demo

writes runs/<dataset>/results.csv from the run folders, whatever command made them; tools.cv does so
as its runs finish. Columns: variant, fold, seed, iterations, subject, sequence, frame, truth,
predicted, and one for the score of each class.
"""
import argparse
import collections
import csv
import fcntl
import io
import sys
from pathlib import Path

import numpy as np

from data_prep import spreadsheet
from tools.core import files, run_folder, tested_run

RUN = ['variant', 'fold', 'seed', 'iterations']
IMAGE = ['subject', 'sequence', 'frame', 'truth']
TESTED = [*IMAGE, 'predicted']
COLUMNS = [*RUN, *TESTED]  # and the classes
WHOLE = ('fold', 'seed', 'iterations')  # columns of whole numbers


def collect(dataset):
    """Writes runs/<dataset>/results.csv from the folders of all complete runs, if there is any.

    Gives back a sentence for each run left out, because its predictions are damaged or it is not of
    the data as built here. Several processes may collect at once: each writes all that is there,
    one after the other.
    """
    path = Path('runs', dataset, 'results.csv')
    lines, left_out = [], []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_name('.results.lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # One CSV has one list of classes: those of the data as built, or of the first good run.
            built = classes_of(dataset)
            classes = built
            for folder in sorted(path.parent.glob('*/fold*_seed*')):
                run = complete(folder)
                if run is None:
                    continue
                classes_here = classes or run['classes']
                try:
                    if built is not None:
                        check_data(folder, run)
                    rows = read_predictions(folder / 'predictions.csv', run, classes_here)
                except SystemExit as error:
                    left_out.append(f'{error} Left out of {path}.')
                    continue
                classes = classes_here
                lines += [[*(run[name] for name in RUN), *(row[name] for name in TESTED),
                           *row['scores']] for row in rows]

            if lines:
                text = io.StringIO()
                writer = csv.writer(text, lineterminator='\n')
                writer.writerows(map(spreadsheet.quote, line)
                                 for line in ([*COLUMNS, *classes], *lines))
                files.write(path, text.getvalue())
    except (OSError, UnicodeError) as error:
        raise SystemExit(f'{path} cannot be written: {error}.') from None
    return left_out


def check_data(folder, run):
    """SystemExit where data/<dataset> holds other data now than those that a run was trained on.

    A run that does not say what those were passes.
    """
    if 'data' in run:
        tested_run.check_data(folder, run)


def complete(folder):
    """run.json of a run folder, as a dict, where it was tested at its last iteration, else None."""
    try:
        run = run_folder.read_settings(folder)
        result = run_folder.read_result(folder)
        named = (run[name] for name in ('dataset', 'variant', 'fold', 'seed'))
        place = run_folder.folder_of(*named)
        tested = result['iterations'] == run['iterations']
        # Of one that went on from an earlier snapshot it is the test of weights that are gone.
        tested = tested and run.get('averaged_at', run['iterations']) == run['iterations']
        tested = tested and (folder / 'predictions.csv').is_file()
        if tested and place == folder:  # it may be a copy of another folder
            return run
    except (SystemExit, OSError):
        pass
    return None


def read_results(path):
    """The results of a data set as a dict of arrays with an entry a row, checked.

    variant, subject, sequence, frame, truth, predicted: str; fold, seed, iterations: int; scores:
    float, N x classes; and classes, a list of str. Where data/<dataset> is built here, the classes
    must be its own, and every run must have all images of its test fold, once. SystemExit, with
    file and line, otherwise.
    """
    path = Path(path)
    dataset = path.parent.name
    classes = classes_of(dataset)

    columns = collections.defaultdict(list)
    images_of = collections.defaultdict(list)
    for where, named, row in read_rows(path, COLUMNS, classes):
        classes = named
        for name in WHOLE:
            row[name] = whole_number(where, name, row[name])
        check_scores(where, row, classes)
        key = tuple(row[name] for name in RUN)
        images_of[key].append((where, image_of(row)))
        for name, value in row.items():
            columns[name].append(value)

    if not columns:
        raise SystemExit(f'{path} holds no prediction: train and test some runs first (`make cv`).')
    for (variant, fold, seed, _), images in images_of.items():
        check_images(f'{path}: {variant}, fold {fold}, seed {seed}', dataset, fold, images)
    return {**{name: np.array(values) for name, values in columns.items()}, 'classes': classes}


def read_predictions(path, run, classes):
    """The rows of a run's predictions.csv as dicts of IMAGE, predicted, and scores, a float a
    class; SystemExit unless all are good."""
    rows, images = [], []
    for where, named, row in read_rows(path, TESTED, classes):
        check_scores(where, row, named)
        rows.append(row)
        images.append((where, image_of(row)))
    check_images(path, run['dataset'], run['fold'], images)
    return rows


def read_rows(path, columns, classes):
    """Yields (where, classes, dict) for the rows of a CSV with these columns, then a column a
    class; classes: those that must be there, None for any.

    The dict has the columns, each cell as it was before it was quoted for spreadsheets, and
    `scores`, the texts of the others.
    """
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader = csv.reader(file)
            header = [spreadsheet.unquote(cell) for cell in next(reader, [])]
            expected = [*columns, *(header[len(columns):] if classes is None else classes)]
            if header != expected:
                raise SystemExit(
                    f'{path}, line 1: the columns are {",".join(header)[:200] or "missing"}, '
                    f'expected are {",".join(expected)}: is it of another data set?')

            for row in reader:
                if not row:  # an empty line
                    continue
                if len(row) != len(header):
                    raise SystemExit(
                        f'{path}, line {reader.line_num}: {len(header)} values are expected.')
                cells = [spreadsheet.unquote(cell) for cell in row]
                # by place, since a class may have the name of a column
                yield (f'{path}, line {reader.line_num}', header[len(columns):],
                       {**dict(zip(columns, cells)), 'scores': cells[len(columns):]})
    except FileNotFoundError:
        raise SystemExit(
            f'{path} is missing: train and test some runs first (`make cv`).') from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f'{path} cannot be read: {error}.') from None


def whole_number(where, name, text):
    """`text` as a whole number; SystemExit, saying where, for any other."""
    if not text.isdecimal():
        raise SystemExit(f'{where}: {name} must be a whole number, not {text!r}.')
    return int(text)


def check_scores(where, row, classes):
    """Makes the scores of a row float.

    SystemExit, saying where, if they or its classes are no good.
    """
    for name in ('truth', 'predicted'):
        if row[name] not in classes:
            raise SystemExit(f'{where}: {name} {row[name]!r} is none of {", ".join(classes)}.')
    try:
        row['scores'] = [float(text) for text in row['scores']]
    except ValueError as error:
        raise SystemExit(f'{where}: a score is no number ({error}).') from None

    # Of two that are as high either may be told.
    own = row['scores'][classes.index(row['predicted'])]
    if not np.isfinite(row['scores']).all() or own < max(row['scores']):
        raise SystemExit(f'{where}: {row["predicted"]} was predicted, its score {own} '
                         'is not the highest, or one of them is not finite.')


def image_of(row):
    return tuple(row[name] for name in IMAGE)


def check_images(run, dataset, fold, images):
    """SystemExit unless the images of a run are those of its test fold, each once.

    run: its name, for the sentence; images: [(where, (subject, sequence, frame, truth))]. Nothing
    is checked where data/<dataset> is not built here.
    """
    if classes_of(dataset) is None:
        return

    path = Path('data', dataset, f'fold{fold}', 'test.csv')
    again = 'it was made with other data, so train and test it again'
    try:
        with open(path, newline='', encoding='utf-8') as file:
            expected = collections.Counter(
                (row['subject'], row['sequence'], row['frame'], row['expression'])
                for row in map(spreadsheet.unquote_row, csv.DictReader(file)))
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(
            f'{run} has the test images of {path}, which cannot be read ({error}).') from None

    missing = expected.copy()
    for where, image in images:
        if not missing[image]:
            wrong = 'is there twice' if image in expected else f'is not in {path}'
            raise SystemExit(f'{where}: image {" ".join(image)} {wrong}: {again}.')
        missing[image] -= 1

    # A run of fewer images would have an accuracy of its own, on easier or harder ones.
    if sum(missing.values()):
        raise SystemExit(
            f'{run} lacks {sum(missing.values())} of the {sum(expected.values())} images '
            f'in {path}: {again}.')


def classes_of(dataset):
    """The classes of a data set that is built here, in the order of their labels, else None."""
    try:
        return Path('data', dataset, 'classes.txt').read_text(encoding='utf-8').splitlines()
    except FileNotFoundError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', default='demo')
    dataset = parser.parse_args().dataset
    for sentence in collect(dataset):
        print(sentence, file=sys.stderr)
    results = read_results(Path('runs', dataset, 'results.csv'))
    n = len(set(zip(*(results[name].tolist() for name in RUN))))
    print(f'runs/{dataset}/results.csv: {len(results["truth"])} predictions of {n} runs')


if __name__ == '__main__':
    main()
