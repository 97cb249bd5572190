"""The recipe of docs/results.md, for a CPU: `make recipe`; what it begins with: `make pretrain`.

    python3 -m tools.recipe compare --dataset demo --variants "cnn s1r1" --folds 3 --last 160
    python3 -m tools.recipe pretrain [--raw | --faces fer2013]

It is the paper's solver with a larger learning rate that falls sooner, in three stages. En1 and
De1,r come from pre-training, once for all data sets (and En2, where people were told apart). Then
En2 and FC learn the expressions of a fold, alone. From there each network of the comparison goes
on, as long as any other. Every stage is made by tools.train, so the same command goes on where an
earlier one was stopped.

For photographs the pre-training is on real faces: En2 and FC have learned expressions in it, so the
second stage falls away, and En1 and De1,r draw the nearest neutral face (generator=vae). From there
CNN and GCNet are trained on as long as each other: what a distance tells is not what a code tells,
and takes as many iterations to learn as a fold of a small set does not have.
"""
import argparse
import sys
from pathlib import Path

from data_prep import datasets
from prototxt import neighbours, net
from tools import cv, extract_weights, train

# Of tools.train, a stage each. The ablations of docs/recipe_search.md chose them.
START = 360  # iterations of the expressions' stage
EXPRESSION = ['--iters', str(START), '--batch', '32', '--base-lr', '0.01',
              '--set', 'gamma=0.02 balance=1']
CHANGE = 'gamma=0.04 balance=1 generator=change decoder=switches pixel_scale=relative'
COMPARED = ['--batch', '32', '--base-lr', '0.01', '--set', CHANGE]

# Of people who are in no other set. Of drawn ones a neutral face is known, which their auto-encoder
# draws; of others it draws what it is shown, and a second network learns to tell them apart.
DRAWN = {'generator': dict(iters=8000, batch=16, lr=0.015,
                           set='gamma=0.002 generator=change decoder=switches')}
PHOTOGRAPHED = {'autoencoder': DRAWN['generator'],
                'identity': dict(iters=4000, batch=32, lr=0.01, set='gamma=0.004')}

# Of strangers whose expressions are known, for photographs (docs/recipe_search.md). A
# pre-training's rate may fall by Caffe's policy `poly`; the comparison keeps the paper's.
VAE = 'generator=vae pixel_scale=0.02'
# Trained on with the rest, the generator would soon draw no face any more: few have a reference.
# Codes as they are, or a GCNet could not become the CNN that it begins with.
ON_FACES = ('balance=1 classifier=code streams=together generator_rate=0 codes=raw '
            f'contrast_weight=0.0001 margin=100 {VAE}')
FACES = {'expression': dict(iters=8000, batch=64, lr=0.02, set='policy=poly power=1'),
         'generator': dict(iters=4000, batch=64, lr=0.005, set=f'policy=poly power=1 {VAE}'),
         **dict.fromkeys(('cnn', 's1r1'), dict(iters=5000, batch=64, lr=0.015,
                                               set=f'gamma=0.0004 power=3 {ON_FACES}'))}
COMPARED_FACES = ['--batch', '64', '--base-lr', '0.01', '--set', f'gamma=0.04 {ON_FACES}']
# DE-GAN has a generator of its own, which draws on a known neutral face.
NEIGHBOURS_FACES = ['--batch', '64', '--base-lr', '0.01', '--set', CHANGE]


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
    on = part.add_mutually_exclusive_group()
    on.add_argument('--raw', action='store_true',
                    help='on the data set `webface`, not on the drawn `demo_people`')
    on.add_argument('--faces', metavar='DATASET', help='on the expressions of this data set, and '
                    f'on the neutral faces of DATASET{datasets.REFERRED}')
    for name in 'iters', 'batch', 'lr', 'set', 'seed':
        part.add_argument(f'--{name}', default='', help='as in tools.train, of every network')
    part.set_defaults(make=pretrain)
    options = parser.parse_args(words)
    return options.make(options)


def compare(options):
    """Trains and tests the variants in two stages, or in one where the pre-training knows
    expressions; those of a stage on all folds. Returns the first exit code that is not 0, else 0.
    SystemExit for what cannot be trained."""
    variants = options.variants.split()
    unknown = [name for name in variants if name not in net.VARIANTS]
    if unknown or not variants:
        raise SystemExit(f'VARIANTS must be of {" ".join(net.VARIANTS)}, '
                         f'not {" ".join(unknown or variants)!r}.')
    common = ['--dataset', options.dataset, *cv.words_of(options)]

    generator, identity, faces, gcnet = (
        f'{options.pretrained}/{name}.caffemodel'
        for name in ('generator', 'identity', 'expression', 'gcnet'))
    if not any(Path(path).is_file() for path in (generator, identity, faces, gcnet)):
        raise SystemExit(f'{options.pretrained} holds none of the weights of `make pretrain`: name '
                         'a folder that does in PRETRAINED.')
    gcnets = [name for name in variants if name in net.GCNETS]
    relatives = [name for name in variants if name in neighbours.VARIANTS]
    cnns = [name for name in variants if name not in gcnets + relatives]

    if Path(faces).is_file():
        compared, apart, expression, first = COMPARED_FACES, NEIGHBOURS_FACES, faces, []
    else:
        # tools.train puts the numbers in.
        compared, apart, expression = COMPARED, COMPARED, (
            f'runs/{options.dataset}/expression/fold{{fold}}_seed{{seed}}/snapshots/'
            f'expression_iter_{START}.caffemodel')
        begin = [identity] if Path(identity).is_file() else []
        first = [(['expression'], EXPRESSION, begin)]
    own = gcnet if Path(gcnet).is_file() else expression
    compared, apart = ([*words, '--iters', options.last] for words in (compared, apart))
    stages = [*first, (gcnets, compared, [generator, own]), (cnns, compared, [expression]),
              (relatives, apart, [expression])]

    for names, settings, weights in stages:
        given = ['--weights', ','.join(weights)] if weights else []
        code = names and cv.main([*common, '--variants', ' '.join(names), *settings, *given])
        if code:
            return code
    return 0


def pretrain(options):
    """Trains the networks of DRAWN, PHOTOGRAPHED or FACES on fold 0, and takes their weights out;
    returns the first exit code that is not 0, else 0."""
    if options.faces:
        dataset, networks = options.faces, FACES
    else:
        dataset, networks = ('webface', PHOTOGRAPHED) if options.raw else ('demo_people', DRAWN)
    seed, runs, weights = options.seed or '1', {}, {}
    for variant, default in networks.items():
        # A generator learns from what has a reference, and FACES are strangers' for the most part.
        own = datasets.referred(dataset) if variant == 'generator' and options.faces else dataset
        given = {name: getattr(options, name) or str(value) for name, value in default.items()}
        words = ['--dataset', own, '--variant', variant, '--fold', '0', '--seed', seed,
                 '--iters', given['iters'], '--batch', given['batch'], '--base-lr', given['lr'],
                 '--set', given['set']]
        if variant in net.VARIANTS:  # begins where the others have ended
            parts = ('generator', 'expression') if variant in net.GCNETS else ('expression',)
            words += ['--weights', ','.join(weights[part] for part in parts)]
        code = train.main(words)
        if code:
            return code
        runs[variant] = f'runs/{own}/{variant}/fold0_seed{seed}'
        weights[variant] = f'{runs[variant]}/snapshots/{variant}_iter_{given["iters"]}.caffemodel'

    out = f'runs/{dataset}/pretrained'
    # A comparison's CNN begins with the one that was trained longest.
    runs.pop('expression', None)
    extract_weights.main([*runs.values(), '--out', out])
    print(f'Start from them: make recipe PRETRAINED={out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
