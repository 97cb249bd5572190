"""What command lines have in common: the run that they name, folds, numbers."""
import json
import math
from pathlib import Path

from data_prep.folds import FOLDS
from prototxt import net
from tools.core import run_folder


def add_run_options(parser):
    """Adds to an argparse parser what names a run; for named_folder."""
    parser.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    parser.add_argument('--variant', default='s1r1',
                        help=f'{", ".join(net.VARIANTS + net.PRETRAINING)} (default: s1r1)')
    parser.add_argument('--fold', default=0,
                        help=f'the fold to test on, 0 to {FOLDS - 1} (default: 0)')
    parser.add_argument('--seed', default=1,
                        help='of the weights and the augmentation (default: 1)')


def named_folder(options):
    """The folder of the run that the arguments name; makes fold and seed int.

    SystemExit if there is none.
    """
    variants = net.VARIANTS + net.PRETRAINING
    if options.variant not in variants:
        raise SystemExit(
            f'There is no variant {options.variant!r}: VARIANT is one of {", ".join(variants)}.')
    options.fold = whole_number('FOLD', options.fold, 0, FOLDS - 1)
    options.seed = whole_number('SEED', options.seed, 0, 2 ** 31 - 1)
    if not Path('data', options.dataset, 'classes.txt').is_file():
        raise SystemExit(
            f'data/{options.dataset} is not built: run `make data DATASET={options.dataset}`.')
    return run_folder.folder_of(options.dataset, options.variant, options.fold, options.seed)


def fold_list(dataset, text):
    """The folds that `text` names ("0 1 2", "0-4", "0-2,7"), all for ''.

    SystemExit for one not built.
    """
    # A set that ships its own split has fold0 alone.
    built = sorted(int(path.name[4:]) for path in Path('data', dataset).glob('fold[0-9]'))
    asked = []
    for word in text.replace(',', ' ').split():
        first, _, last = word.partition('-')
        low = whole_number('FOLDS', first, 0, FOLDS - 1)
        asked += range(low, whole_number('FOLDS', last or first, low, FOLDS - 1) + 1)
    unknown = set(asked) - set(built)
    if built and unknown:
        raise SystemExit(f'data/{dataset} has no fold {min(unknown)}: '
                         f'FOLDS can be {" ".join(map(str, built))}.')
    return asked or built or [0]  # where none is built, request.read_request says so


def whole_number(name, text, low, high):
    """`text` as a whole number from low to high; SystemExit, naming it, for any other."""
    try:
        found = int(text)
    except ValueError:
        found = None
    if found is None or not low <= found <= high:
        raise SystemExit(f'{name} must be a whole number from {low} to {high}, not {text!r}.')
    return found


def positive_number(name, text):
    """`text` as a float above 0; SystemExit, naming it, for any other."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise SystemExit(f'{name} must be a number above 0, not {text!r}.')
    return found


def named_setting(text, tunable):
    """(name, value) of NAME=VALUE, NAME one of `tunable`.

    The value is read as JSON, else it is the text.
    """
    name, equals, value = text.partition('=')
    if not equals or name not in tunable:
        raise SystemExit(
            f'{text!r} is no setting: give NAME=VALUE, NAME one of {", ".join(tunable)}.')
    try:
        return name, json.loads(value)
    except ValueError:  # a word, such as codes=raw, needs no quotes
        return name, value
