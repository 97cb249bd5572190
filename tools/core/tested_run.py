"""A tested run, if it is of the data as built now."""
import functools

from tools.core import fold_data, network, run_folder


def check(folder, dataset, fold):
    """The settings of a run; SystemExit where it is of other data than there is now."""
    run = run_folder.read(folder)
    if (run.get('dataset'), run.get('fold'), run.get('data')) != (dataset, fold,
                                                                  present(dataset, fold)):
        raise SystemExit(
            f'{folder} was trained on other data than data/{dataset}/fold{fold} holds now: '
            'remove it and train again.')
    return run


@functools.lru_cache(maxsize=None)
def present(dataset, fold):
    """What tells one build of a fold from another."""
    return fold_data.fingerprint(dict(dataset=dataset, fold=fold))['data']


def load(folder, dataset, fold):
    """The trained network of a tested run; SystemExit where it is damaged or of other data."""
    run = check(folder, dataset, fold)
    net, iteration = network.load(folder)
    if iteration != run['iterations']:
        raise SystemExit(
            f'{folder} has no whole snapshot after iteration {iteration} of {run["iterations"]}'
            ': give its `make train` again.')
    return net
