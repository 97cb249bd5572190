"""Whether a run and the data as built now belong together; whatever reads both asks here."""
from tools.core import fold_data, network, run_folder


def check_data(folder, run):
    """SystemExit unless the settings `run` of a run are of the data that its fold holds now: the
    same classes, rows and pictures. `run` must be as run_folder.read_settings gives it."""
    changed = fold_data.differences(run, fold_data.fingerprint(run['dataset'], run['fold']))
    if changed:
        place = fold_data.fold_path(run['dataset'], run['fold'])
        raise SystemExit(
            f'{folder} was trained on other data than {place} holds now ({", ".join(changed)} '
            f'changed): build that again, or remove {folder} and train again.')


def read_tested(folder, dataset, fold):
    """The settings of a run; SystemExit where it is not of this fold as it is now."""
    run = run_folder.read_settings(folder)
    if (run['dataset'], run['fold']) != (dataset, fold):
        raise SystemExit(f'{folder} was trained on other data than '
                         f'{fold_data.fold_path(dataset, fold)}: remove it and train again.')
    check_data(folder, run)
    return run


def load_tested(folder, dataset, fold, text=None):
    """The trained network of a tested run, or another one for its weights, a prototxt's text;
    SystemExit where it is damaged or of other data."""
    run = read_tested(folder, dataset, fold)
    net, iteration = network.load(folder, text)
    if iteration != run['iterations']:
        raise SystemExit(
            f'{folder} has no whole snapshot after iteration {iteration} of {run["iterations"]}'
            ': give its `make train` again.')
    return net
