"""Test of a trained network on the people of its test fold, at its last iteration: `make
evaluate`."""
import argparse
import csv
import io
import json
import sys

import numpy as np
from sklearn import metrics

from data_prep import interrupted, spreadsheet
from prototxt import net
from tools.core import arguments, files, fold_data, network, plots, run_folder, tested_run


def evaluate(folder):
    """Tests the run in `folder` and gives back the result.

    Writes result.json, predictions.csv and the pictures there. Raises SystemExit where the run or
    its test data is missing or damaged.
    """
    run = run_folder.read_settings(folder)
    tested_run.check_data(folder, run)
    trained, iteration = network.load(folder)
    # One number a run: never of a snapshot on the way, nor with batch norm's running averages.
    if iteration < run['iterations'] or run.get('averaged_at', iteration) != iteration:
        lacking = '' if iteration < run['iterations'] else ", before batch norm's averages"
        raise SystemExit(f'{folder} stopped at iteration {iteration} of {run["iterations"]}'
                         f'{lacking}: give its `make train` again to go on, then test it.')

    rows, queries, references, labels = fold_data.read_part(run['dataset'], run['fold'], 'test')
    outputs = network.run(trained, queries)
    named = {name: run[name] for name in ('dataset', 'variant', 'fold', 'seed')}
    result = {**named, 'iterations': iteration, **score(labels, outputs['prob'], run['classes'])}

    files.write(folder / 'predictions.csv', predictions(rows, outputs['prob'], run['classes']))
    plots.confusion(folder / 'confusion.png', labels, outputs['prob'].argmax(1), run['classes'])
    try:
        plots.curves(folder / 'curves.png', folder / 'metrics.csv')
    except SystemExit as error:  # the test does without
        print(f'Without curves.png: {error}', file=sys.stderr)
    if network.pictures(trained):
        plots.faces(folder / 'faces.png', queries, references, outputs, labels, run['classes'])
    # Last, since it says that the test is complete.
    files.write(folder / 'result.json', json.dumps(result, indent=2) + '\n')
    return result


def score(labels, probabilities, classes):
    """n, accuracy, balanced accuracy (mean recall) and recall per class, in [0, 1].

    None for a class with no image.
    """
    predicted = probabilities.argmax(1)
    recall = metrics.recall_score(labels, predicted, labels=range(len(classes)), average=None,
                                  zero_division=0)
    # A small fold may have no image of a class: its recall is unknown, not 0.
    present = np.isin(np.arange(len(classes)), labels)
    return {
        'n': len(labels), 'accuracy': float(metrics.accuracy_score(labels, predicted)),
        'balanced_accuracy': float(recall[present].mean()),
        'recall': {name: float(r) if p else None for name, r, p in zip(classes, recall, present)},
        'classes': list(classes)
    }


def predictions(rows, probabilities, classes):
    """CSV text: a line a test image, its names, truth, prediction and probabilities."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['subject', 'sequence', 'frame', 'truth', 'predicted',
                    *map(spreadsheet.quote, classes)])
    for row, p in zip(rows, probabilities):
        names = (row['subject'], row['sequence'], row['frame'], row['expression'],
                 classes[p.argmax()])
        table.writerow([*map(spreadsheet.quote, names), *(f'{value:.6f}' for value in p)])
    return text.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    arguments.add_run_options(parser)
    options = parser.parse_args()
    folder = arguments.named_folder(options)
    if options.variant in net.PRETRAINING:
        print(f'{folder}: pre-training, so there is nothing to test.')
        return
    try:
        result = evaluate(folder)
    except OSError as error:
        raise SystemExit(f'The test of {folder} cannot be written ({error}): make room, or make it '
                         'writable, and run `make evaluate` again.') from None
    except KeyboardInterrupt:
        raise interrupted(f'the test of {folder} is as it was') from None
    print(f'{folder}: accuracy {result["accuracy"]:.1%}, '
          f'balanced accuracy {result["balanced_accuracy"]:.1%} '
          f'on {result["n"]} images at iteration {result["iterations"]}')


if __name__ == '__main__':
    main()
