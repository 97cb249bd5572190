"""Where a training run is, and its settings: runs/<dataset>/<variant>/fold<F>_seed<S>/run.json."""
import json
from pathlib import Path


def path(dataset, variant, fold, seed):
    """The folder of a run, as a Path relative to the checkout."""
    return Path('runs', dataset, variant, f'fold{fold}_seed{seed}')


def read(run):
    """The settings of a run as a dict: its run.json; SystemExit where it is missing or damaged."""
    file = Path(run, 'run.json')
    try:
        settings = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise SystemExit(f'{file} is missing: train this run first (`make train`).') from None
    except (OSError, ValueError) as error:
        raise SystemExit(
            f'{file} cannot be read ({error}): remove {run} and train again.') from None
    if not isinstance(settings, dict):
        raise SystemExit(f'{file} holds no settings: remove {run} and train again.')
    return settings
