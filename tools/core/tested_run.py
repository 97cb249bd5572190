"""Whether a run and the data as built now belong together; whatever reads both asks here."""
import functools

from tools.core import fold_data, network, run_folder


def check_data(folder, run):
    """SystemExit unless the settings `run` of a run are of the data that its fold holds now: the
    same classes, rows and pictures. `run` must be as run_folder.read_settings gives it."""
    changed = fold_data.differences(run, present_data(run['dataset'], run['fold']))
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


def present_data(dataset, fold):
    """What tells one build of a fold from another, as fold_data.fingerprint; read once a build."""
    root = fold_data.fold_path(dataset, fold).resolve()
    files = sorted(path for path in [root.parent / 'classes.txt', *root.rglob('*')]
                   if path.is_file())
    # Pictures are read anew only where a file has changed: a report asks for every run of a fold.
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return read_once(dataset, fold, stamps)


@functools.lru_cache(maxsize=None)
def read_once(dataset, fold, stamps):
    """fold_data.fingerprint; stamps: of its files, so that others are read again."""
    return fold_data.fingerprint(dataset, fold)


def load_tested(folder, dataset, fold):
    """The trained network of a tested run; SystemExit where it is damaged or of other data."""
    run = read_tested(folder, dataset, fold)
    net, iteration = network.load(folder)
    if iteration != run['iterations']:
        raise SystemExit(
            f'{folder} has no whole snapshot after iteration {iteration} of {run["iterations"]}'
            ': give its `make train` again.')
    return net
