"""Where a training run is, and its settings: runs/<dataset>/<variant>/fold<F>_seed<S>/run.json."""
import json
from pathlib import Path

from tools.core import files

# What every run.json has; the other settings are checked where they are there.
NEEDED = dict(dataset=str, variant=str, fold=int, seed=int, iterations=int, classes=[str])
OTHERS = dict(batch=int, base_lr=float, n_train=int, n_test=int, begun=int, data=str, pictures=str,
              referred=int, sha256=str,
              command=str, device=str, weights=[str], weights_sha256=[str], settings=dict,
              versions=dict)
WORDS = {str: 'text', int: 'whole number', float: 'number', dict: 'object'}


def folder_of(dataset, variant, fold, seed):
    """The folder of a run, as a Path relative to the checkout."""
    return Path('runs', dataset, variant, f'fold{fold}_seed{seed}')


def lock_of(folder):
    """The file that a process which trains the run holds a lock on: beside the folder, so that it
    holds also while somebody removes and makes that again."""
    return folder.with_name(f'.{folder.name}.lock')


def read_settings(folder):
    """The settings of a run as a dict: its run.json. SystemExit, with the name of the setting,
    where it is missing or damaged, or a setting is not of its type in NEEDED and OTHERS."""
    file, again = Path(folder, 'run.json'), f'remove {folder} and train again'
    try:
        settings = json.loads(files.read_text(file))
    except FileNotFoundError:
        raise SystemExit(f'{file} is missing: train this run first (`make train`).') from None
    except (OSError, ValueError, RecursionError) as error:
        raise SystemExit(f'{file} cannot be read ({error}): {again}.') from None
    if not isinstance(settings, dict):
        raise SystemExit(f'{file} holds no settings: {again}.')

    # Somebody may have edited it, or an older program made it: said here, for all who read it.
    for name, kind in {**NEEDED, **OTHERS}.items():
        if not is_of(settings.get(name), kind) and (name in NEEDED or name in settings):
            what = f'list of {name}' if isinstance(kind, list) else f'{WORDS[kind]} `{name}`'
            raise SystemExit(f'{file} has no {what}: {again}.')
    if not settings['classes']:
        raise SystemExit(f'{file} has no class: {again}.')
    return settings


def read_result(folder):
    """The result of a tested run as a dict, `iterations` a whole number in it: its result.json.
    SystemExit where the run was not tested, or the file is damaged."""
    file, again = Path(folder, 'result.json'), f'run `make evaluate` of {folder} again'
    try:
        result = json.loads(files.read_text(file))
        json.dumps(result, ensure_ascii=False).encode('utf-8')  # half a surrogate is no text
    except FileNotFoundError:
        raise SystemExit(f'{folder} is not tested: give its `make train` again, which tests at '
                         'the end.') from None
    except (OSError, ValueError, RecursionError) as error:
        raise SystemExit(f'{file} is damaged ({error}): {again}.') from None
    if not isinstance(result, dict) or not is_of(result.get('iterations'), int):
        raise SystemExit(f'{file} is damaged (no whole number `iterations`): {again}.')
    return result


def read_text(path):
    """The text of a file of a run; SystemExit, naming it, where it cannot be read."""
    try:
        return path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f'{path} cannot be read ({error}): remove {path.parent} and train '
                         'again.') from None


def is_of(value, kind):
    """Whether a value of JSON is of a type: str, dict, a whole number (int) or any number (float)
    from 0 to 2^31, or, given as [type], a list of such values."""
    if isinstance(kind, list):
        return isinstance(value, list) and all(is_of(one, kind[0]) for one in value)
    if kind in (int, float):
        number = isinstance(value, (int, float) if kind is float else int)
        return number and not isinstance(value, bool) and 0 <= value < 2 ** 31
    return isinstance(value, kind)
