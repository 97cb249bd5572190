"""Unequal classes: what the setting `balance` takes out of the scores, and how it comes back in."""
import numpy as np

from tools.core import run_folder


def offsets(run):
    """What is added to the scores in Cls, a number a class, where run['settings'] has `balance` b:
    of a class with n_c of n training images b log(n_c / n) (layers/adjust.py). With b = 1 the loss
    asks for the mean of the classes' recalls, with 0 for the share of all images. SystemExit for a
    b that is no number from 0 to 1."""
    balance = run['settings']['balance']
    if isinstance(balance, bool) or not isinstance(balance, (int, float)) or not 0 <= balance <= 1:
        raise SystemExit(f'balance must be a number from 0 to 1, not {balance!r}.')
    # a class without images has no logarithm, and no part in the loss
    counts = np.maximum(run['counts'], 1)
    return np.round(balance * np.log(counts / sum(run['counts'])), 4).tolist()


def with_frequencies(run, probabilities):
    """Probabilities, N x K, of a run, with what its `balance` took out of them: the frequencies of
    the classes in training, so that the most probable class is meant for accuracy. The same where
    it took nothing; SystemExit where run.json is no good."""
    settings, counts = run.get('settings', {}), run.get('counts')
    if isinstance(settings, dict) and not settings.get('balance', 0):
        return probabilities
    known = isinstance(settings, dict) and run_folder.is_of(counts, [int])
    if not known or len(counts) != probabilities.shape[1] or not sum(counts):
        raise SystemExit(
            f'The run.json of {run.get("variant")}, fold {run.get("fold")}, does not say how many '
            'training images each class had (`counts`): train again.')
    # What the loss added to the scores is a factor of the probabilities, before they sum up to 1.
    weighted = probabilities * np.exp(offsets(run))
    return weighted / weighted.sum(1, keepdims=True)
