"""Copies out of a tested run what is needed to use it elsewhere: `make export`.

    python3 -m tools.export --run runs/demo/s1r1/fold3_seed1 --out model

writes the folder model/: run.json without paths, deploy.prototxt, the last caffemodel with the
layers of that network alone, in snapshots/, and result.json. It is a run folder for `make predict
RUN=model` and for tools.predictor; no training goes on from it.

For use without Caffe the same network is in model.onnx (query to probabilities and pictures), what
it takes and gives in model.json and in its metadata, and predict.py shows how. These are left out,
with a word why, where a layer has no form in ONNX here, as a network of somebody else's may have.
"""
import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from caffe.proto import caffe_pb2

from data_prep import align, detect, pair_lmdb
from tools.core import checked_net, network, output, predictor, run_folder, snapshots

EXAMPLE = Path(__file__).parent / 'example/predict.py'


def main():
    parser = argparse.ArgumentParser(
        description='Copies out of a tested run what its use elsewhere needs.')
    parser.add_argument('--run', type=Path, help='folder of a tested run')
    parser.add_argument('--out', type=Path, help='folder to be made')
    options = parser.parse_args()
    if options.run is None or options.out is None:
        raise SystemExit('Name a run and a folder to be made: '
                         '`make export RUN=runs/demo/s1r1/fold3_seed1 OUT=model`.')
    export(options.run, options.out)
    size = sum(path.stat().st_size for path in options.out.rglob('*') if path.is_file()) / 1e6
    print(f'Exported: {options.out}, {size:.1f} MB, for `make predict RUN={options.out}`.')


def export(folder, out):
    """Writes the tested run in `folder` into the new folder `out`, both Paths.

    SystemExit, and nothing is written, where `out` is there or lies where it would be lost, or the
    run is damaged, does not tell expressions, or was not tested at its last iteration.
    """
    if os.path.lexists(out):
        raise SystemExit(f'{out} is there already: choose another OUT.')
    if not output.is_kept(out):
        raise SystemExit(
            f'{out} is not in the checkout: choose an OUT in it, and move it afterwards.')
    trained = predictor.Predictor(folder)
    run, net, iteration = trained.run, trained.net, trained.iteration
    reached = run_folder.read_result(folder)['iterations']
    if not iteration == reached == run.get('iterations'):
        raise SystemExit(
            f'{folder} is at iteration {iteration} of {run.get("iterations")}, tested at '
            f'{reached}: give its `make train` again, which goes to the end and tests there.')
    weights = {snapshot.iteration: snapshot.caffemodel
               for snapshot in snapshots.find_snapshots(folder)}[iteration]
    model = network.weights_of(snapshots.parse(weights, caffe_pb2.NetParameter()), net)
    settings = without_paths(run)
    about = describe(run, iteration, net)
    onnx = convert(folder, net, about)

    # Under a name of its own until it is whole
    partial = out.with_name(f'.{out.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)  # left by a kill
    try:
        (partial / 'snapshots').mkdir(parents=True)
        (partial / 'snapshots' / weights.name).write_bytes(model.SerializeToString())
        shutil.copyfile(folder / 'deploy.prototxt', partial / 'deploy.prototxt')
        if 'sha256' in run:  # the checksum of the weights as they are here
            settings['sha256'] = pair_lmdb.checksum(partial / 'snapshots' / weights.name)
        (partial / 'run.json').write_text(json.dumps(settings, indent=2) + '\n', encoding='utf-8')
        shutil.copyfile(folder / 'result.json', partial / 'result.json')
        if onnx:
            (partial / 'model.onnx').write_bytes(onnx)
            (partial / 'model.json').write_text(json.dumps(about, indent=2) + '\n',
                                                encoding='utf-8')
            shutil.copyfile(EXAMPLE, partial / EXAMPLE.name)
        partial.rename(out)
    except OSError as error:
        raise SystemExit(
            f'{out} cannot be written ({error}): make room, or choose another OUT.') from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def describe(run, iteration, net):
    """What a program needs to know of the model in model.onnx: a dict for JSON."""
    pictures = dict(generated='the same face without its expression, 0 or more',
                    reconstructed_r='the generated face, drawn again from its code, 0 or more',
                    reconstructed_i='the query, drawn again from its code, 0 or more')
    return dict(
        variant=run['variant'], iteration=iteration, classes=run['classes'],
        inputs=dict(query=f'N x 1 x {network.CROP} x {network.CROP}, float32: the centre of grey '
                    'crops, divided by 255'),
        outputs=dict(prob='N x classes: the probability of each',
                     **{name: pictures[name] for name in network.pictures(net)}),
        crop=align.SIZE, centre=network.CROP, points=detect.PARTS, target=align.TARGET.tolist())


def convert(folder, net, about):
    """A run's network in ONNX, as bytes; None, and why is said, where it has no form there."""
    from tools.core import onnx_model  # a large library that no other command needs
    try:
        layers = checked_net.parse(folder / 'deploy.prototxt').layer
        return onnx_model.convert(layers, net, about)
    except ValueError as error:
        print(f'Without model.onnx: in {folder}/deploy.prototxt {error}.', file=sys.stderr)
        return None


def without_paths(run):
    """run.json's settings without the command line; the files that they name, by name alone."""
    run = {name: value for name, value in run.items() if name != 'command'}
    return {**run, 'weights': [Path(path).name for path in run.get('weights', [])]}


if __name__ == '__main__':
    sys.exit(main())
