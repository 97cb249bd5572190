"""The paper's experiment in one command, with its own settings: `make paper`.

    python3 -m tools.paper --dataset ckplus7 [--iters 2000] [--folds 0-9] [--jobs 2]

On what `make data` built: the data set `webface`, a folder a person, in the place of CASIA-WebFace,
and the data set of expressions. An auto-encoder and an identification CNN are trained on the
people; their encoders are En1 and En2 of all that follows (section 4.1). Then CNN, S0R0, S1R0, S0R1
and S1R1 are trained and tested on every fold, from there alone. First it says how long that will
take here, from a few iterations of each. The same command goes on where an earlier one was stopped.

Where the paper says what it does, this does so; docs/decisions.md has what it leaves open, and
docs/training.md where the recipe does otherwise.
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

from prototxt import net
from tools import balance_of_losses, cv, extract_weights, train
from tools.bench import network_speed
from tools.core import arguments, request, run_folder, run_prototxt

PEOPLE = 'webface'
PRETRAINED = ('autoencoder', 'identity')
COMPARED = ('cnn', *net.GCNETS)
# Of tools.train: Table 1's decoders, FC on the bare distance of bare codes. All else is the default
# of net.solver and net.SETTINGS, which are the paper's: 300,000 iterations of 64.
ASKED = dict(picture='normalized', codes='raw', standardize=False)
SETTINGS = ['--set', ' '.join(f'{name}={json.dumps(value)}' for name, value in ASKED.items())]
TIMED = 3  # iterations, of which the first does not count
BATCHES = 8  # training batches for the first S


def main(words=None):
    parser = argparse.ArgumentParser(prog='python3 -m tools.paper',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    parser.add_argument('--iters', default='300000', help="of every network (default: the paper's)")
    cv.add_which(parser)
    options = parser.parse_args(words)
    iterations = arguments.whole_number('ITERS', options.iters, 1, 2 ** 31 - 1)
    check_runs(options.dataset)
    folds = len(arguments.fold_list(options.dataset, options.folds))
    runs = folds * len(options.seeds.split() or ['1'])
    # One network at a time is pre-trained, on the first of the GPUs. All are looked at now, and not
    # when the comparison begins.
    number = cv.parse(['--dataset', options.dataset, *cv.words_of(options)])[0].gpus[0]
    settings = [*SETTINGS, '--gpu', 'none' if number is None else str(number)]
    tell_time(options.dataset, iterations, runs, settings)

    return pretrain(iterations, settings) or compare(options)


def check_runs(dataset):
    """SystemExit where the data set has runs of another experiment, such as the recipe's: the
    tables would count them together with the paper's."""
    for variant in COMPARED:
        for path in sorted(Path('runs', dataset, variant).glob('fold*_seed*/run.json')):
            settings = run_folder.read_settings(path.parent).get('settings', {})
            if any(settings.get(name) != value for name, value in ASKED.items()):
                raise SystemExit(f'{path.parent} is of another experiment: move runs/{dataset} '
                                 'away, then give this again.')


def tell_time(dataset, iterations, runs, settings):
    """Prints how long all will take one after the other, a line a network.

    From iterations made here and now; settings: further words for tools.train.
    """
    print(f'Each network is trained for {iterations} iterations of 64 '
          '(the paper: 300000). One after the other, on this machine, that takes', flush=True)
    hours = {}
    for variant in (*PRETRAINED, *COMPARED):
        people = variant in PRETRAINED
        times = 1 if people else runs
        seconds = seconds_of(variant, PEOPLE if people else dataset, settings)
        hours[variant] = iterations * times * seconds / 3600
        each = f'{times:>4} x {seconds:6.2f} s an iteration'
        print(f'{variant:<12}{each}{hours[variant]:10.1f} hours', flush=True)
    print(f'{"all":<12}{sum(hours.values()):40.1f} hours; ITERS= shortens it, Ctrl-C stops, the '
          'same command goes on.', flush=True)


def seconds_of(variant, dataset, settings):
    """Median seconds an iteration of a network on fold 0 of a data set, by `caffe train`."""
    with tempfile.TemporaryDirectory() as folder:
        _, run, gpu = request.read_request(['--dataset', dataset, '--variant', variant, '--fold',
                                            '0', '--iters', str(TIMED), *settings])
        texts = run_prototxt.texts(Path(folder), {**run, 'begun': 0, 'n_test': 1})
        for name, text in texts.items():
            Path(folder, name).write_text(text, encoding='utf-8')
        Path(folder, 'snapshots').mkdir()
        seconds, _ = network_speed.train(Path(folder, 'solver.prototxt'), gpu)
    return seconds


def pretrain(iterations, settings):
    """Trains auto-encoder and identification CNN, takes their encoders out; the exit code."""
    for variant in PRETRAINED:
        code = train.main(['--dataset', PEOPLE, '--variant', variant, '--iters', str(iterations),
                           *settings])
        if code:
            return code
    extract_weights.main([*(f'runs/{PEOPLE}/{variant}/fold0_seed1' for variant in PRETRAINED),
                          '--out', f'runs/{PEOPLE}/pretrained'])
    return 0


def compare(options):
    """Trains and tests the networks of the comparison on every fold; the exit code."""
    weights = [f'runs/{PEOPLE}/pretrained/{name}.caffemodel' for name in ('generator', 'identity')]
    margin = first_distance(options.dataset, weights)
    print(f'The margin of Contr is {margin}, the mean distance S of the codes at the start.',
          flush=True)
    words = ['--dataset', options.dataset, '--iters', options.iters, *SETTINGS,
             *cv.words_of(options)]
    code = cv.main([*words, '--variants', 'cnn', '--weights', weights[1]])
    return code or cv.main([*words, '--variants', ' '.join(net.GCNETS), '--weights',
                            ','.join(weights), '--set', f'margin={margin}'])


def first_distance(dataset, weights):
    """The mean S of equation 4 of S1R1 over a few training batches of fold 0, with the weights that
    it begins with: the paper does not say its margin, and far below S, Contr would be 0."""
    with tempfile.TemporaryDirectory() as folder:
        _, run, _ = request.read_request(['--dataset', dataset, '--variant', 's1r1', '--fold', '0',
                                          '--gpu', 'none', *SETTINGS])
        path = Path(folder, 'net.prototxt')
        path.write_text(run_prototxt.texts(Path(folder), {**run, 'begun': 0})[path.name])
        found = balance_of_losses.measure(balance_of_losses.load_net(path, weights), BATCHES)
    return float(f'{found["S"].mean():.3g}')


if __name__ == '__main__':
    sys.exit(main())
