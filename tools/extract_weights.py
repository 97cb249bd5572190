"""Takes what other networks start from out of pre-trained runs; `make pretrain` does it.

    python3 -m tools.extract_weights runs/demo_people/generator/fold0_seed1 ... --out
    prototxt/pretrained

writes generator.caffemodel, En1 of a generator or an auto-encoder and De1,r of the former;
identity.caffemodel, En2 of an identification CNN; expression.caffemodel, En2 and the first FC layer
of a CNN of expressions; gcnet.caffemodel, the same of a GCNet, with its De2: the weights alone. The
layers that tell people apart, most of an identification CNN, stay behind, and so does what gives a
class its score.
"""
import argparse
import re
from pathlib import Path

from caffe.proto import caffe_pb2

from prototxt import net
from tools.core import files, snapshots

# What is taken of which network, by the names that every network of the comparison has; fc1 those
# with classifier=code.
FILES = {'generator': 'generator', 'autoencoder': 'generator', 'identity': 'identity',
         'cnn': 'expression', 'expression': 'expression',
         **{net.title(variant): 'gcnet' for variant in net.GCNETS}}
LAYERS = {'generator': '(en1|de1_r)/.*', 'identity': 'en2/.*', 'expression': 'en2/.*|fc1',
          'gcnet': 'en2/.*|de2_.*|fc1'}


def extract(folder):
    """(name of what it is, NetParameter) of the parts that others take of a run's last snapshot:
    layers' names, types and weights.

    A GCNet's generator is left out: it has the file that it came from. SystemExit without any.
    """
    try:
        snapshot, model = snapshots.last_weights(folder), caffe_pb2.NetParameter()
        if snapshot:
            snapshots.parse(snapshot.caffemodel, model)
    except ValueError as error:
        raise SystemExit(f'{error}: name another run.') from None
    name = FILES.get(model.name)
    taken = [caffe_pb2.LayerParameter(name=layer.name, type=layer.type, blobs=layer.blobs)
             for layer in model.layer
             if name and layer.blobs and re.fullmatch(LAYERS[name], layer.name)]
    if not taken:
        raise SystemExit(f'{folder} holds no pre-trained network: run `make pretrain`.')
    return name, caffe_pb2.NetParameter(name=model.name, layer=taken)


def main(words=None):
    parser = argparse.ArgumentParser(prog='python3 -m tools.extract_weights',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('folders', nargs='+', type=Path, metavar='RUN', help='of `make train`')
    parser.add_argument('--out', required=True, type=Path, help='the folder to write into')
    options = parser.parse_args(words)
    try:
        models = [extract(folder) for folder in options.folders]
        options.out.mkdir(parents=True, exist_ok=True)
        for name, model in models:
            files.write(options.out / f'{name}.caffemodel', model.SerializeToString())
    except OSError as error:
        raise SystemExit(f'{options.out} cannot be written ({error}): make room, or choose another '
                         '--out.') from None


if __name__ == '__main__':
    main()
