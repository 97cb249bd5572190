"""Predictions of a program that is not ours, on our folds, for the tables beside our own.

    docker/enter python3 -m tools.theirs --dataset ckplus7 --name mynet predictions.csv

The CSV has the columns subject, sequence, frame and predicted: a line for each image of
data/<dataset>/fold<F>/test.csv, which lists them as test_lmdb holds them, of all folds or of some.
What was trained on the fold's train.csv and says what it sees on its test.csv is compared as our
networks are: by the same images, with the same intervals. It writes run folders,
runs/<dataset>/<name>/fold<F>_seed<S>, as tools.baselines does; then `make tables`.
"""
import argparse
import re
import sys

import numpy as np

from data_prep import names, spreadsheet
from data_prep.folds import read_columns
from prototxt import net
from tools import baselines
from tools.core import arguments, fold_data, predictions, request

IMAGE = ('subject', 'sequence', 'frame')


def main(words=None):
    words = sys.argv[1:] if words is None else words
    parser = argparse.ArgumentParser(prog='python3 -m tools.theirs',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('csv', help='subject,sequence,frame,predicted')
    parser.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    parser.add_argument('--name', required=True, help='what the tables call it')
    parser.add_argument('--seed', default='1', help='of several of one name (default: 1)')
    options = parser.parse_args(words)
    check_name(options.name)
    seed = arguments.whole_number('--seed', options.seed, 0, 2 ** 31 - 1)

    try:
        given = read_given(options.csv)
        made = [dict(dataset=options.dataset, variant=options.name, fold=fold, seed=seed,
                     iterations=0, command=request.command_line('tools.theirs', words),
                     **fold_data.fingerprint(options.dataset, fold))
                for fold in arguments.fold_list(options.dataset, '')]
        told = [(run, *labels_of(options.csv, run, given)) for run in made]
        strangers = set(given).difference(*(map(image_of, rows) for _, rows, _ in told))
        if strangers:
            image = min(strangers)
            raise SystemExit(f'{options.csv}, line {given[image][0]}: image {" ".join(image)} is '
                             f'in no test.csv of data/{options.dataset}.')

        kept = [folder for folder in (baselines.folder_of(run) for run, _, labels in told
                                      if labels is None) if folder.exists()]
        if kept:
            raise SystemExit(f'{kept[0]} is of an earlier file, and {options.csv} has nothing of '
                             'that fold: remove it, or the tables would average both.')
        for run, rows, labels in told:
            if labels is not None:
                write(run, rows, labels)
    except OSError as error:
        raise SystemExit(f'The predictions of {options.name} cannot be written: {error}.') from None
    for sentence in predictions.collect(options.dataset):
        print(sentence, file=sys.stderr)


def check_name(name):
    """SystemExit unless a name can be a folder's, and is not one of ours."""
    ours = (*net.VARIANTS, *net.PRETRAINING, *baselines.FEATURES, 'figures', 'pretrained')
    free = name.lower() not in ours and not name.lower().startswith('gcnet')
    if not free or not re.fullmatch('[A-Za-z0-9][A-Za-z0-9_-]{0,39}', name):
        raise SystemExit(f'--name {name[:60]!r} cannot be taken: up to 40 letters, digits, _ and '
                         f'-, not gcnet first, and not one of {", ".join(ours)}.')


def read_given(path):
    """{(subject, sequence, frame): (line, expression)} of a CSV; SystemExit, with the line, where
    an image is there twice."""
    given = {}
    for line, cells in read_columns(path, [*IMAGE, 'predicted'], 'predictions'):
        *image, predicted = (spreadsheet.unquote(cell or '').strip() for cell in cells)
        image = tuple(image)
        if image in given:
            raise SystemExit(f'{path}, line {line}: image {" ".join(image)} is there a second '
                             f'time, after line {given[image][0]}.')
        given[image] = line, predicted
    return given


def image_of(row):
    return tuple(row[name] for name in IMAGE)


def labels_of(path, run, given):
    """(the rows of a test fold, the label that was predicted of each, or None where none of them is
    among `given`); SystemExit where some are missing or an expression is none of the set's."""
    rows = spreadsheet.read_csv(fold_data.fold_path(run['dataset'], run['fold']) / 'test.csv')
    images = list(map(image_of, rows))
    there = [image for image in images if image in given]
    if not there:
        return rows, None
    if len(there) < len(images):
        missing = next(image for image in images if image not in given)
        raise SystemExit(f'{path} has {len(there)} of the {len(images)} images of fold '
                         f'{run["fold"]}, and not {" ".join(missing)}: a fold is compared whole.')

    labels = []
    for image in images:
        line, predicted = given[image]
        expression = predicted if predicted in run['classes'] else names.expression(predicted)
        if expression not in run['classes']:
            raise SystemExit(f'{path}, line {line}: {predicted[:60]!r} is none of '
                             f'{", ".join(run["classes"])}.')
        labels.append(run['classes'].index(expression))
    return rows, np.array(labels)


def write(run, rows, labels):
    """Writes the run folder of a fold's rows and N predicted labels, and says what they are
    worth."""
    truth = np.array([int(row['label']) for row in rows])
    found = np.eye(len(run['classes']))[labels]  # which it is sure of is not known
    result = baselines.write_tested(run, rows, truth, found)
    print(f'{run["variant"]}, fold {run["fold"]}: accuracy {result["accuracy"]:.1%} on '
          f'{result["n"]} images')


if __name__ == '__main__':
    main()
