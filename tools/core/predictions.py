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
import json
import sys
from pathlib import Path

import numpy as np

from tools.core import files, run_folder

RUN = ['variant', 'fold', 'seed', 'iterations']
IMAGE = ['subject', 'sequence', 'frame', 'truth']
COLUMNS = [*RUN, *IMAGE, 'predicted']  # and the classes
WHOLE = ('fold', 'seed', 'iterations')  # columns of whole numbers


def collect(dataset):
    """Writes runs/<dataset>/results.csv from the folders of all complete runs, if there is any.

    Gives back a sentence for each run left out, because its predictions are damaged or not of the
    data as built here. Several processes may collect at once: each writes all that is there, one
    after the other.
    """
    path = Path('runs', dataset, 'results.csv')
    lines, left_out = [], []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_name('.results.lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            classes = classes_of(dataset)
            for folder in sorted(path.parent.glob('*/fold*_seed*')):
                run = complete(folder)
                if run is None:
                    continue
                try:
                    found = read_predictions(folder / 'predictions.csv', run, classes
                                             or run['classes'])
                except SystemExit as error:
                    left_out.append(f'{error} Left out of {path}.')
                    continue
                classes = classes or run['classes']
                lines += [[*(run[name] for name in RUN), *row.values()] for row in found]
            if lines:
                text = io.StringIO()
                csv.writer(text, lineterminator='\n').writerows([[*COLUMNS, *classes], *lines])
                files.write(path, text.getvalue())
    except OSError as error:
        raise SystemExit(f'{path} cannot be written: {error}.') from None
    return left_out


def complete(folder):
    """run.json of a run folder, as a dict, where it was tested at its last iteration, else None."""
    try:
        run = run_folder.read_settings(folder)
        result = json.loads((folder / 'result.json').read_text(encoding='utf-8'))
        named = (run[name] for name in ('dataset', 'variant', 'fold', 'seed'))
        place = run_folder.folder_of(*named)
        tested = result['iterations'] == run['iterations'] and (folder /
                                                                'predictions.csv').is_file()
        if tested and place == folder:  # it may be a copy of another folder
            return run
    except (SystemExit, OSError, ValueError, KeyError, TypeError):
        pass
    return None


def read(path):
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
    for where, row in table(path, COLUMNS, classes):
        classes = classes or list(row)[len(COLUMNS):]
        for name in WHOLE:
            row[name] = whole(where, name, row[name])
        check(where, row, classes)
        key = tuple(row[name] for name in RUN)
        images_of[key].append((where, image(row)))
        for name in COLUMNS:
            columns[name].append(row[name])
        columns['scores'].append([row[name] for name in classes])
    if not columns:
        raise SystemExit(f'{path} holds no prediction: train and test some runs first (`make cv`).')
    for (variant, fold, seed, _), images in images_of.items():
        check_images(f'{path}: {variant}, fold {fold}, seed {seed}', dataset, fold, images)
    return {**{name: np.array(values) for name, values in columns.items()}, 'classes': classes}


def read_predictions(path, run, classes):
    """The rows of a run's predictions.csv as dicts, scores as float; SystemExit unless all are
    good."""
    rows, images = [], []
    for where, row in table(path, [*IMAGE, 'predicted'], classes):
        check(where, row, classes)
        rows.append(row)
        images.append((where, image(row)))
    check_images(path, run['dataset'], run['fold'], images)
    return rows


def table(path, columns, classes):
    """Yields (where, dict) for the rows of a CSV with these columns, then the classes, None for
    any."""
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or [])
            expected = [*columns, *(header[len(columns):] if classes is None else classes)]
            if header != expected:
                raise SystemExit(
                    f'{path}, line 1: the columns are {",".join(header)[:200] or "missing"}, '
                    f'expected are {",".join(expected)}: is it of another data set?')
            for row in reader:
                if None in row or None in row.values():
                    raise SystemExit(
                        f'{path}, line {reader.line_num}: {len(header)} values are expected.')
                yield f'{path}, line {reader.line_num}', row
    except FileNotFoundError:
        raise SystemExit(
            f'{path} is missing: train and test some runs first (`make cv`).') from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f'{path} cannot be read: {error}.') from None


def whole(where, name, text):
    """`text` as a whole number; SystemExit, saying where, for any other."""
    if not text.isdecimal():
        raise SystemExit(f'{where}: {name} must be a whole number, not {text!r}.')
    return int(text)


def check(where, row, classes):
    """Makes the scores of a row float; SystemExit, saying where, if they or its classes are no
    good."""
    for name in ('truth', 'predicted'):
        if row[name] not in classes:
            raise SystemExit(f'{where}: {name} {row[name]!r} is none of {", ".join(classes)}.')
    try:
        row.update({name: float(row[name]) for name in classes})
    except ValueError as error:
        raise SystemExit(f'{where}: a score is no number ({error}).') from None
    scores = [row[name] for name in classes]
    if not np.isfinite(scores).all() or row[row['predicted']] < max(scores):
        raise SystemExit(
            f'{where}: {row["predicted"]} was predicted, its score {row[row["predicted"]]} '
            'is not the highest, or one of them is not finite.')


def image(row):
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
                for row in csv.DictReader(file))
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(
            f'{run} has the test images of {path}, which cannot be read ({error}).') from None
    missing = expected.copy()
    for where, found in images:
        if not missing[found]:
            wrong = 'is there twice' if found in expected else f'is not in {path}'
            raise SystemExit(f'{where}: image {" ".join(found)} {wrong}: {again}.')
        missing[found] -= 1
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
    found = read(Path('runs', dataset, 'results.csv'))
    n = len(set(zip(*(found[name].tolist() for name in RUN))))
    print(f'runs/{dataset}/results.csv: {len(found["truth"])} predictions of {n} runs')


if __name__ == '__main__':
    main()
