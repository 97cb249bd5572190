"""The paper's figures of what was trained on a data set, each as PNG and PDF: `make figures`.

    figure4_depth       error against the depth of the expression, CNN and GCNet, over all folds
                        that have both; its numbers are in figure4_depth.csv
    figure4_faces       weak expressions that CNN or GCNet did not recognise, of the same folds
    figure5_embedding   t-SNE of pixels and of the features of CNN and GCNet
    figure6_filters     learned filters
    figure7_faces       faces of the test people, generated references and reconstructions
    swapped_faces       expressions drawn on other people, where there is a DE-GAN (variant degan)
    learning_curves     losses and accuracy of all variants over the iterations
    confusion_<name>    confusion matrix of a variant (or other method), over all its folds

Figures 5 to 7 and the curves are of one fold: features of two networks cannot be compared.
"""
import argparse
import functools
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep import datasets, interrupted, spreadsheet
from data_prep.folds import FOLDS
from prototxt.net import GCNETS
from tools.core import (
    arguments,
    files,
    fold_data,
    measured,
    metrics,
    network,
    plots,
    predictions,
    tested_run,
)
from tools.figures import (
    figure4_depth,
    figure4_faces,
    figure5_embedding,
    figure6_filters,
    learning_curves,
    swapped_faces,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', default='demo', help='what was trained on (default: demo)')
    parser.add_argument('--raw', help='folder of the set as its makers ship it, for Figure 4 '
                                      '(default: data/raw/DATASET)')
    parser.add_argument('--fold', help='of Figures 5 to 7 and the curves (default: the first with '
                                       'CNN and GCNet)')
    parser.add_argument('--folds', default='',
                        help='of Figure 4 and the confusion matrices, for instance "0 1 2" or 0-4 '
                             '(default: all that have the runs)')
    parser.add_argument('--seed', default='', help='of the runs (default: the least that has any)')
    options = parser.parse_args()
    try:
        make_figures(options)
    except KeyboardInterrupt:
        raise interrupted('the figures that were made are whole') from None


def make_figures(options):
    """Makes every figure that can be made; prints what each of the others needs."""
    dataset = options.dataset
    runs = measured.find_tested(dataset)
    seed = options.seed or least_seed(runs)
    seed = arguments.whole_number('SEED', seed, 0, 2 ** 31 - 1)
    if datasets.of_people(dataset):
        raise SystemExit(
            f'The classes of {dataset} are its people: the figures are of expressions.')
    classes = predictions.classes_of(dataset)
    if classes is None:
        raise SystemExit(f'data/{dataset} is not built: run `make data DATASET={dataset}`.')
    tested, among = by_fold(runs, seed), arguments.fold_list(dataset, options.folds)
    if not tested:
        raise SystemExit(
            f'No tested run of seed {seed} in runs/{dataset}: run `make train DATASET={dataset} '
            f'SEED={seed}` first.')

    # Figure 4 is of many folds and of the GCNet that most of them have, the others are of one fold.
    rival, both = choose({fold: tested.get(fold, {}) for fold in among})
    fold = arguments.whole_number('FOLD', options.fold or (both or [*tested])[0], 0, FOLDS - 1)
    pooled = among if options.folds else both or [fold]
    here = tested.get(fold, {})
    gcnet, _ = choose({fold: here})
    curves = {variant: here[variant] for variant in here if variant in plots.VARIANTS}

    def lacking(folds, *variants):
        return [f'`make train DATASET={dataset} VARIANT={variant} FOLD={one} SEED={seed}`'
                for one in folds for variant in variants if variant not in tested.get(one, {})]

    raw = options.raw or os.path.join('data', 'raw', dataset)
    judged = functools.lru_cache(maxsize=1)(
        functools.partial(judge_frames, dataset, raw, tested, pooled, classes))  # for two figures
    rivals, pair = lacking(pooled, 'cnn', rival), ('cnn', gcnet)
    data = dict(dataset=dataset, classes=classes)

    # Name: (commands without which there is none, what draws it to a path).
    figures_of = {
        'figure4_depth': (rivals, functools.partial(draw_depth, judged=judged, classes=classes)),
        'figure4_faces': (rivals, functools.partial(draw_missed, judged=judged, rival=rival,
                                                    classes=classes)),
        'figure5_embedding': (lacking([fold], *pair),
                              functools.partial(draw_embedding, fold=fold, here=here, pair=pair,
                                                **data)),
        'figure6_filters': (lacking([fold], gcnet),
                            functools.partial(draw_filters, dataset=dataset, fold=fold,
                                              folder=here.get(gcnet))),
        'figure7_faces': (lacking([fold], gcnet),
                          functools.partial(draw_faces, fold=fold, folder=here.get(gcnet), **data)),
        'learning_curves': ([] if curves else lacking([fold], *pair),
                            functools.partial(draw_curves, folders=curves))
    }
    if 'degan' in here:
        figures_of['swapped_faces'] = [], functools.partial(draw_swapped, fold=fold,
                                                            folder=here['degan'], **data)
    for variant in dict.fromkeys(variant for one in among for variant in tested.get(one, {})):
        folders = {one: tested[one][variant] for one in among if variant in tested.get(one, {})}
        draw = functools.partial(draw_confusion, folders=folders, **data)
        figures_of[f'confusion_{variant}'] = [], draw
    write_all(Path('runs', dataset, 'figures'), figures_of)


def least_seed(runs):
    """The least seed of the tested networks; 1 without any."""
    return min((run['seed'] for _, run in runs if run['variant'] in plots.VARIANTS), default=1)


def by_fold(runs, seed):
    """{fold: {variant: folder}} of the tested runs of a seed: folds ascending, variants in the
    order of plots.VARIANTS, and after them what else gave predictions, such as the classical
    baselines."""
    folders = {}
    for folder, run in runs:
        if run['seed'] == seed:
            folders.setdefault(run['fold'], {})[run['variant']] = folder
    names = {variant for of in folders.values() for variant in of}
    order = [*plots.VARIANTS, *sorted(names - set(plots.VARIANTS))]
    return {fold: {variant: folders[fold][variant] for variant in order
                   if variant in folders[fold]} for fold in sorted(folders)}


def choose(tested):
    """The GCNet to set against the CNN, and the folds that have both: S1R1 if it has any, else the
    next variant that has. With no such fold, the first GCNet there is, and []."""
    gcnets = [variant for variant in plots.VARIANTS if variant in GCNETS]
    for variant in gcnets:
        both = [fold for fold, of in tested.items() if {'cnn', variant} <= set(of)]
        if both:
            return variant, both
    there = [variant for variant in gcnets if any(variant in of for of in tested.values())]
    return (there or gcnets)[0], []


def write_all(folder, figures_of):
    """Writes each figure of {name: (commands that it waits for, function that draws it to a path
    and gives back why it could not, or None)}. One that fails keeps no other from being made:
    SystemExit, with every reason, comes at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    made, failed = [], {}  # names; {reason: names}
    for name, (commands, draw) in figures_of.items():
        if commands:
            print(f'No {name}: run {" and ".join(commands)} first.')
            continue
        try:
            why = draw(folder / name)
        except SystemExit as error:  # of two figures with the same reason it is said once
            failed.setdefault(str(error), []).append(name)
        except OSError as error:
            failed.setdefault(f'{error}.', []).append(name)
        else:
            print(f'No {name}: {why}.' if why else f'{folder / name}.png and .pdf')
            if not why:
                made.append(name)

    if failed:
        raise SystemExit('\n'.join(
            f'No {", ".join(names)}: {reason}' for reason, names in failed.items()))
    if not made:
        raise SystemExit(f'No figure was made in {folder}: see above.')


def judge_frames(dataset, raw, tested, folds, classes):
    """The frames of Figure 4 over these folds, a figure4_depth.Judged of the variants that all of
    them have, each frame by the networks that its person was not trained on. ValueError where there
    are none."""
    variants = [variant for variant in plots.VARIANTS
                if all(variant in tested[fold] for fold in folds)]
    partly = [variant for variant in plots.VARIANTS
              if variant not in variants and any(variant in tested[fold] for fold in folds)]
    if partly:
        print(f'Not in figure4_depth, since not trained on each of its folds: {", ".join(partly)}.')

    # A person is tested in one fold, by the networks that never saw that face.
    fold_of = {row['subject']: fold for fold in folds
               for row in spreadsheet.read_csv(Path('data', dataset, f'fold{fold}', 'test.csv'))}
    rows, crops, known = figure4_depth.read_frames(dataset, raw, fold_of)
    fold = np.array([fold_of[row['subject']] for row in rows])
    said = {variant: np.zeros(len(rows), int) for variant in variants}
    missed = {variant: np.zeros(len(rows), bool) for variant in variants}
    for one, variant in tqdm([(one, variant) for one in folds for variant in variants],
                             'figure 4', unit='net', ascii=True):
        own = np.flatnonzero(fold == one)
        if len(own):
            net = tested_run.load_tested(tested[one][variant], dataset, one)
            said[variant][own], missed[variant][own] = figure4_depth.judge(
                net, [rows[i] for i in own], crops[own], classes)
    return figure4_depth.Judged(rows, crops, fold, said, missed, known)


def draw_depth(path, judged, classes):
    """Figure 4, the curve, of what judged() gives; why not, where it cannot."""
    try:
        frames = judged()
    except ValueError as error:
        return str(error)
    depths, people = zip(*((row['depth'], row['subject']) for row in frames.rows))
    tables = {variant: figure4_depth.bins(depths, missed, people, frames.folds)
              for variant, missed in frames.missed.items()}
    files.write(path.with_suffix('.csv'), figure4_depth.text(tables))
    figure4_depth.draw(path, tables, frames.known, len(classes))

    errors = ', '.join(f'{variant} {missed.mean():.1%}'
                       for variant, missed in frames.missed.items())
    folds = ', '.join(map(str, np.unique(frames.folds)))
    print(f'Errors on {len(depths)} frames of {len(set(people))} people, folds {folds}: {errors}.')


def draw_missed(path, judged, rival, classes):
    """Figure 4, the faces, of what judged() gives; why not, where it cannot."""
    try:
        return figure4_faces.draw(path, judged(), ('cnn', rival), classes)
    except ValueError as error:
        return str(error)


def draw_embedding(path, dataset, fold, here, pair, classes):
    """Figure 5, with the features of two variants; here: {variant: folder} of the fold."""
    nets = {variant: tested_run.load_tested(here[variant], dataset, fold) for variant in pair}
    _, queries, _, labels = fold_data.read_part(dataset, fold, 'test')
    spaces = {'pixels': queries.reshape(len(queries), -1)}
    spaces.update((plots.name(variant), figure5_embedding.features(net, queries))
                  for variant, net in nets.items())
    figure5_embedding.draw(path, spaces, labels, classes)


def draw_filters(path, dataset, fold, folder):
    """Figure 6."""
    net = tested_run.load_tested(folder, dataset, fold)
    figure6_filters.draw(path, figure6_filters.of(net))


def draw_faces(path, dataset, fold, folder, classes):
    """Figure 7."""
    net = tested_run.load_tested(folder, dataset, fold)
    _, queries, references, labels = fold_data.read_part(dataset, fold, 'test')
    plots.faces(path, queries, references, network.run(net, queries), labels, classes)


def draw_swapped(path, dataset, fold, folder, classes):
    """Expressions on the faces of others."""
    made = swapped_faces.load(folder, dataset, fold)
    return swapped_faces.draw(path, made, *fold_data.read_part(dataset, fold, 'test'), classes)


def draw_curves(path, folders):
    """The learning curves of {variant: folder}."""
    learning_curves.draw(path, {variant: metrics.read_columns(folder / 'metrics.csv')
                                for variant, folder in folders.items()})


def draw_confusion(path, dataset, folders, classes):
    """The confusion matrix over the test people of {fold: folder} of one variant."""
    rows = []
    for fold, folder in folders.items():
        run = tested_run.read_tested(folder, dataset, fold)
        rows += predictions.read_predictions(folder / 'predictions.csv', run, classes)
    labels, predicted = ([classes.index(row[name]) for row in rows]
                         for name in ('truth', 'predicted'))
    plots.confusion(path, labels, predicted, classes)


if __name__ == '__main__':
    main()
