"""The recipe of docs/results.md, for a CPU: `make recipe`; what it begins with: `make pretrain`.

    python3 -m tools.recipe compare --dataset demo --variants "cnn s1r1" --folds 3 --last 160
    python3 -m tools.recipe pretrain [--raw]

It is the paper's solver with a larger learning rate that falls sooner, in three stages. En1 and
De1,r come from pre-training, once for all data sets (and En2, where people were told apart). Then
En2 and FC learn the expressions of a fold, alone. From there each network of the comparison goes
on, as long as any other. Every stage is made by tools.train, so the same command goes on where an
earlier one was stopped.
"""
import argparse
import sys
from pathlib import Path

from prototxt import net
from tools import cv, extract_weights, train

# Of tools.train, a stage each. The ablations of docs/recipe_search.md chose them.
START = 360  # iterations of the expressions' stage
EXPRESSION = ['--iters', str(START), '--batch', '32', '--base-lr', '0.01',
              '--set', 'gamma=0.02 balance=1']
COMPARED = ['--batch', '32', '--base-lr', '0.01', '--set',
            'gamma=0.04 balance=1 generator=change decoder=switches pixel_scale=relative']

# Of people who are in no other set. Of drawn ones a neutral face is known, which their auto-encoder
# draws; of others it draws what it is shown, and a second network learns to tell them apart.
DRAWN = {'generator': dict(iters=8000, batch=16, lr=0.015,
                           set='gamma=0.002 generator=change decoder=switches')}
PHOTOGRAPHED = {'autoencoder': DRAWN['generator'],
                'identity': dict(iters=4000, batch=32, lr=0.01, set='gamma=0.004')}


def main(words=None):
    parser = argparse.ArgumentParser(prog='python3 -m tools.recipe',
                                     description=__doc__.split('\n')[0])
    parts = parser.add_subparsers(dest='part', required=True)
    part = parts.add_parser('compare', help='trains and tests every variant on every fold')
    part.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    part.add_argument('--variants', default='cnn s1r1',
                      help=f'of {" ".join(net.VARIANTS)} (default: cnn s1r1)')
    part.add_argument('--pretrained', default='prototxt/pretrained',
                      help='folder of tools.extract_weights (default: %(default)s)')
    part.add_argument('--last', default='420',
                      help='iterations of the last stage (default: %(default)s)')
    cv.add_which(part)
    part.set_defaults(make=compare)

    part = parts.add_parser('pretrain', help='trains what the networks begin with')
    part.add_argument('--raw', action='store_true',
                      help='on the data set `webface`, not on the drawn `demo_people`')
    for name in 'iters', 'batch', 'lr', 'set', 'seed':
        part.add_argument(f'--{name}', default='', help='as in tools.train, of every network')
    part.set_defaults(make=pretrain)
    options = parser.parse_args(words)
    return options.make(options)


def compare(options):
    """Trains and tests the variants in two stages, those of a stage on all folds; returns the first
    exit code that is not 0, else 0. SystemExit for what cannot be trained."""
    variants = options.variants.split()
    unknown = [name for name in variants if name not in net.VARIANTS]
    if unknown or not variants:
        raise SystemExit(f'VARIANTS must be of {" ".join(net.VARIANTS)}, '
                         f'not {" ".join(unknown or variants)!r}.')
    common = ['--dataset', options.dataset, *cv.words_of(options)]

    # tools.train puts the numbers in.
    expression = (f'runs/{options.dataset}/expression/fold{{fold}}_seed{{seed}}/snapshots/'
                  f'expression_iter_{START}.caffemodel')
    generator, identity = (f'{options.pretrained}/{name}.caffemodel'
                           for name in ('generator', 'identity'))
    begin = [identity] if Path(identity).is_file() else []
    compared = [*COMPARED, '--iters', options.last]
    stages = [
        (['expression'], EXPRESSION, begin),
        ([name for name in variants if name in net.GCNETS], compared, [generator, expression]),
        ([name for name in variants if name not in net.GCNETS], compared, [expression])]

    for names, settings, weights in stages:
        given = ['--weights', ','.join(weights)] if weights else []
        code = names and cv.main([*common, '--variants', ' '.join(names), *settings, *given])
        if code:
            return code
    return 0


def pretrain(options):
    """Trains the networks of DRAWN or PHOTOGRAPHED on fold 0, and takes their weights out; returns
    the first exit code that is not 0, else 0."""
    dataset, networks = ('webface', PHOTOGRAPHED) if options.raw else ('demo_people', DRAWN)
    seed = options.seed or '1'
    for variant, default in networks.items():
        given = {name: getattr(options, name) or str(value) for name, value in default.items()}
        words = ['--dataset', dataset, '--variant', variant, '--fold', '0', '--seed', seed,
                 '--iters', given['iters'], '--batch', given['batch'], '--base-lr', given['lr'],
                 '--set', given['set']]
        code = train.main(words)
        if code:
            return code

    out = f'runs/{dataset}/pretrained'
    runs = [f'runs/{dataset}/{variant}/fold0_seed{seed}' for variant in networks]
    extract_weights.main([*runs, '--out', out])
    print(f'Start from them: make recipe PRETRAINED={out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
