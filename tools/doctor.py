"""What lies in this checkout, and what to do next: the inner half of `make doctor` (docker/doctor
tells of the machine).

Of each data set: whether it can be read and is as it was built, by the checksums. Of each run:
whether it is tested, trained, in training, or where it stopped. It changes nothing.
"""
import collections
import ctypes
import fcntl
import re
import sys
from pathlib import Path

import caffe

from data_prep import datasets
from prototxt import net
from tools.core import fold_data, gpu, predictor, run_folder, snapshots

MOST = 6  # lines of what to do next, and of each trouble


def main():
    sys.stdout.reconfigure(errors='backslashreplace')
    show('Caffe', describe_engine())
    sets, again = describe_sets()
    show('Data sets', sets or [('none', 'nothing is built in data/')])
    runs, go_on = describe_runs()
    show('Runs', runs or [('none', 'nothing is trained in runs/')])
    print('\nWhat to do next')
    for line in (again + go_on + advise(sets, runs))[:MOST]:
        print(f'  {line}')


def show(title, rows):
    """Prints rows (name, text) under a title."""
    print(f'\n{title}')
    width = max(12, *(len(name) for name, _ in rows))
    for name, text in rows:
        print(f'  {name:{width}} {text}', flush=True)


def describe_engine():
    """[(name, text)]: Caffe's version, what OpenBLAS computes with, whether there is a GPU for it,
    and the model for photographs."""
    blas = ctypes.CDLL('libopenblas.so.0').openblas_get_corename
    blas.restype = ctypes.c_char_p
    reason = gpu.why_not(0)
    shipped = (predictor.SHIPPED / 'run.json').is_file()
    return [('version', caffe.__version__),
            ('BLAS kernel', f'{blas().decode()} (OpenBLAS)'),
            ('GPU', f'none that Caffe can use: {reason}' if reason else 'GPU 0 can be used'),
            ('model', f'{predictor.SHIPPED}, for make predict and make serve' if shipped
             else f'{predictor.SHIPPED} is not there')]


def describe_sets():
    """[(name, text)] of the data sets in data/, and what to do for those not as they were built."""
    rows, again = [], []
    for place in sorted(Path('data').glob('[!.]*/classes.txt')):
        name, folds = place.parent.name, sorted(place.parent.glob('fold[0-9]'))
        sizes, troubles = set(), []
        for fold in folds:
            try:
                now = fold_data.fingerprint(name, int(fold.name[4:]))
                sizes.add(now['n_train'] + now['n_test'])
            except SystemExit as error:
                troubles.append(str(error))
        pairs = f'{max(sizes):,} pairs' if sizes else 'no pairs'
        text = f'{pairs}, {len(folds)} fold{"s" * (len(folds) != 1)}'
        rows.append((name, f'{text}, as built' if folds and not troubles else
                     f'{text}, {len(troubles)} NOT as built'))
        rows += [('', trouble) for trouble in troubles[:MOST]]
        if troubles or not folds:
            again.append(f'make data DATASET={name} …  builds it again')
    return rows, again


def describe_runs():
    """[(name, text)] of the runs, one a data set and variant, and commands to go on with."""
    groups, rows, go_on = collections.defaultdict(list), [], []
    for settings in sorted(Path('runs').glob('*/*/fold*_seed*/run.json')):
        groups[settings.parents[2].name, settings.parents[1].name].append(settings.parent)
    for (dataset, variant), folders in groups.items():
        states = collections.defaultdict(list)
        for folder in folders:
            state, command = state_of(folder)
            states[state].append(folder.name)
            if command:
                go_on.append(command)
        rows.append((f'{dataset} {variant}', '; '.join(
            f'{len(names)} {state}' + (f' ({names[0]})' if len(names) == 1 else '')
            for state, names in sorted(states.items(), key=lambda pair: -len(pair[1])))))
    return rows, go_on


def state_of(folder):
    """(what holds of a run, the command that takes it further or None)."""
    try:
        run = run_folder.read_settings(folder)
    except SystemExit as error:
        return f'damaged ({error})', None

    named = (f'DATASET={run["dataset"]} VARIANT={run["variant"]} FOLD={run["fold"]} '
             f'SEED={run["seed"]}')
    there = snapshots.find_snapshots(folder)
    reached = there[-1].iteration if there else 0
    # A run in training is short of its iterations too, and is not one to go on with.
    if is_locked(folder):
        return f'in training, past {reached} of {run["iterations"]}', None
    if reached < run['iterations'] or run.get('averaged_at', reached) != reached:
        command = run.get('command', '')
        return (f'stopped at {reached} of {run["iterations"]}',
                f'docker/enter {command}' if command else f'make train {named} …')

    if run['variant'] in net.PRETRAINING:
        return 'trained', None
    if tested_at(folder) != reached:
        return 'trained, not tested', f'make evaluate {named}'
    try:
        changed = fold_data.differences(run, fold_data.fingerprint(run['dataset'], run['fold']))
    except SystemExit:
        changed = True
    return 'tested, on other data than is built now' if changed else 'tested', None


def is_locked(folder):
    """Whether a process trains a run now; see tools.train.lock."""
    try:
        with open(run_folder.lock_of(folder)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def tested_at(folder):
    """The iteration at which a run was tested, None where it was not."""
    try:
        return run_folder.read_result(folder)['iterations']
    except SystemExit:
        return None


def advise(sets, runs):
    """The commands that come next."""
    sound = [name for name, text in sets
             if text.endswith(', as built') and not datasets.of_people(name)]
    trained = {name.split()[0] for name, _ in runs}
    tested = {name.split()[0] for name, text in runs
              if re.search(r'(^|; )\d+ tested([ ;]|$)', text)}
    lines = [f'make report DATASET={name}  tables and figures of what was tested'
             for name in sorted(tested)]
    lines += [f'make recipe DATASET={name}  trains and tests the variants' for name in sound
              if name not in trained]
    if not sets:
        lines.append('make demo  shows the whole method on drawn faces, in about 15 minutes')
    return lines + ['make serve  what the model sees in a photo or the webcam, in your browser']


if __name__ == '__main__':
    main()
