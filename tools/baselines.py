"""Classical baselines on the folds and crops of the networks: HOG or LBP features and a linear SVM.

    python3 -m tools.baselines --dataset demo --folds 0-9

writes runs/<dataset>/{hog,lbp}/fold<F>_seed1/ with the same result.json and predictions.csv as a
tested network has, and all predictions to results.csv (tools/core/predictions.py). Folds done
before on the same data are passed over: remove their folders after a change of this file. The cost
C of the SVM is chosen within the training people, by cross-validation over people: the test people
have no part in it.

HOG: Dalal and Triggs, CVPR 2005. LBP, 59 bins a cell (8 points, radius 2): Shan, Gong and McOwan,
Image and Vision Computing 27(6), 2009.
"""
import argparse
import json
import platform
import sys

import numpy as np
import skimage
import sklearn
from scipy.special import softmax
from skimage.feature import hog, local_binary_pattern
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tqdm import tqdm

from data_prep import datasets, interrupted
from tools import evaluate
from tools.core import arguments, files, fold_data, plots, predictions, request, run_folder

CELL = 8       # pixels, for both features
PATTERNS = 59  # of 8 points: 58 uniform ones, and all others together
COSTS = (1e-5, 1e-4, 1e-3, 1e-2)
INNER = 3      # folds of the training people
SEED = 1


def hog_features(face):
    """Histograms of oriented gradients of a face 64 x 64 in [0, 1]: 1764 values.

    9 orientations, blocks of 2 x 2 cells.
    """
    return hog(face, orientations=9, pixels_per_cell=(CELL, CELL), cells_per_block=(2, 2),
               block_norm='L2-Hys')


def lbp_features(face):
    """Uniform local binary patterns of a face 64 x 64 in [0, 1]: their share in each of 8 x 8
    cells, row by row; 3776 values."""
    # Whole numbers, since equal neighbours must compare as equal.
    pixels = np.rint(255 * face).astype(np.uint8)
    codes = local_binary_pattern(pixels, 8, 2, 'nri_uniform').astype(int)
    # 64 x 64 into 8 x 8 cells, each as one row
    n = len(codes) // CELL
    cells = codes.reshape(n, CELL, n, CELL).swapaxes(1, 2).reshape(n * n, -1)
    return np.concatenate([np.bincount(cell, minlength=PATTERNS) for cell in cells]) / CELL ** 2


FEATURES = {'hog': hog_features, 'lbp': lbp_features}


def fit(features, labels, subjects):
    """A linear SVM on standardised features (N x D), its C chosen by cross-validation over people.

    Gives back a GridSearchCV, trained on everything with the best C; of equals the smallest.
    """
    # The scaler is within, so that the people left out of a fold have no part in it either.
    model = make_pipeline(StandardScaler(), LinearSVC(random_state=SEED))
    search = GridSearchCV(model, {'linearsvc__C': COSTS}, cv=GroupKFold(INNER))
    return search.fit(features, labels, groups=subjects)


def probabilities(model, features, n_classes):
    """Softmax of the SVM's decision function, N x n_classes: the classes are ranked as by the SVM,
    but the values are not calibrated. A class that was not in training has 0."""
    found = model.decision_function(features)
    if found.ndim == 1:  # of two classes it is one column: how far on the second's side
        found = np.stack([-found, found], axis=1)
    decision = np.full((len(features), n_classes), -np.inf)
    decision[:, model.classes_] = found
    return softmax(decision, axis=1)


def read_train(run):
    """The training part of a fold: faces (N x 64 x 64 in [0, 1]), labels (N) and subjects (N)."""
    rows, queries, _, labels = fold_data.read_part(run['dataset'], run['fold'], 'train')
    subjects = [row['subject'] for row in rows]
    people, expressions = len(set(subjects)), len(set(labels))
    if people < INNER or expressions < 2:
        raise SystemExit(
            f'{fold_data.fold_path(run["dataset"], run["fold"])}/train.csv has {people} people and '
            f'{expressions} expressions, at least {INNER} people and 2 expressions are '
            'needed: build the data set from more.')
    return queries[:, 0], labels, subjects


def run_fold(run):
    """Trains and tests the baseline run['variant'] on its fold.

    Writes its folder, gives back the result.
    """
    feature = FEATURES[run['variant']]
    faces, labels, subjects = read_train(run)
    model = fit(np.array([feature(face) for face in faces]), labels, subjects)
    rows, queries, _, truth = fold_data.read_part(run['dataset'], run['fold'], 'test')
    found = probabilities(model, np.array([feature(face) for face in queries[:, 0]]),
                          len(run['classes']))
    return write_tested(run, rows, truth, found, C=model.best_params_['linearsvc__C'])


def folder_of(run):
    """The folder of a run, given as its run.json."""
    return run_folder.folder_of(*(run[name] for name in ('dataset', 'variant', 'fold', 'seed')))


def write_tested(run, rows, truth, found, **more):
    """Writes the folder of a run that is no network of ours, as tools.evaluate does, and gives back
    its result. rows, truth: of its N test images, their rows and labels; found: N x classes, their
    probabilities; more: for the result."""
    folder = folder_of(run)
    named = {name: run[name]
             for name in ('dataset', 'variant', 'fold', 'seed', 'iterations', 'data')}
    result = {**named, **more, **evaluate.score(truth, found, run['classes'])}

    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'result.json').unlink(missing_ok=True)  # of other data, until the last line
    files.write(folder / 'run.json', json.dumps(run, indent=2) + '\n')
    files.write(folder / 'predictions.csv', evaluate.predictions(rows, found, run['classes']))
    plots.confusion(folder / 'confusion.png', truth, found.argmax(1), run['classes'])
    files.write(folder / 'result.json', json.dumps(result, indent=2) + '\n')  # last: all is there
    return result


def done(run):
    """Whether the folder of this run has a result on the same data."""
    earlier = predictions.complete(folder_of(run))
    return earlier is not None and not fold_data.differences(earlier, run)


def main(words=None):
    words = sys.argv[1:] if words is None else words
    parser = argparse.ArgumentParser(prog='python3 -m tools.baselines',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    parser.add_argument('--folds', default='',
                        help='for instance "0 1 2" or 0-4 (default: all that the data set has)')
    options = parser.parse_args(words)

    if datasets.of_people(options.dataset):
        raise SystemExit(
            f'The classes of {options.dataset} are people: the baselines are for expressions.')
    command = dict(command=request.command_line('tools.baselines', words),
                   versions=dict(python=platform.python_version(), numpy=np.__version__,
                                 sklearn=sklearn.__version__, skimage=skimage.__version__),
                   code=request.commit())

    try:
        todo = []
        for fold in arguments.fold_list(options.dataset, options.folds):
            data = fold_data.fingerprint(options.dataset, fold)
            todo += [dict(dataset=options.dataset, variant=name, fold=fold, seed=SEED, iterations=0,
                          **command, **data) for name in FEATURES]
        left = [run for run in todo if not done(run)]

        bar = tqdm(left, 'baselines', unit='fold', ascii=True, disable=not left)
        for run in bar:
            bar.set_postfix_str(f'{run["variant"]}, fold {run["fold"]}')
            result = run_fold(run)
            bar.write(f'{run["variant"]}, fold {run["fold"]}: accuracy {result["accuracy"]:.1%} '
                      f'on {result["n"]} images, C {result["C"]:g}')
    except OSError as error:
        raise SystemExit(f'The baselines of {options.dataset} cannot be run: {error}.') from None
    except KeyboardInterrupt:
        raise interrupted('the same command goes on from here, what is done is kept') from None

    # Also where nothing was left to do: results.csv may be gone, or older than a run.
    for sentence in predictions.collect(options.dataset):
        print(sentence, file=sys.stderr)
    print(f'runs/{options.dataset}: {len(left)} runs made, {len(todo) - len(left)} were there.')


if __name__ == '__main__':
    main()
