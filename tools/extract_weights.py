"""Takes what other networks start from out of pre-trained runs; `make pretrain` does it.

    python3 -m tools.extract_weights runs/demo_people/generator/fold0_seed1 ... --out
    prototxt/pretrained

writes generator.caffemodel, En1 of a generator or an auto-encoder and De1,r of the former;
identity.caffemodel, En2 of an identification CNN; expression.caffemodel, En2 and the first FC layer
of a CNN of expressions: the weights alone. The layers that tell people apart, most of an
identification CNN, stay behind, and so does what gives a class its score.
"""
import argparse
from pathlib import Path

from caffe.proto import caffe_pb2

from tools.core import files, snapshots

# By name, as every network of the comparison has them; fc1 those with classifier=code.
TAKEN = ('en1/', 'en2/', 'de1_r/')
FC = 'fc1'


def extract(folder):
    """The NetParameter with the layers TAKEN of a run's last snapshot: names, types and weights.

    SystemExit without any.
    """
    snapshot = snapshots.last_snapshot(folder)
    model = snapshots.parse(snapshot.caffemodel,
                            caffe_pb2.NetParameter()) if snapshot else caffe_pb2.NetParameter()
    taken = [caffe_pb2.LayerParameter(name=layer.name, type=layer.type, blobs=layer.blobs)
             for layer in model.layer
             if layer.blobs and (layer.name.startswith(TAKEN) or layer.name == FC)]
    if not taken:
        raise SystemExit(f'{folder} holds no pre-trained network: run `make pretrain`.')
    return caffe_pb2.NetParameter(name=model.name, layer=taken)


def kind(model):
    """What was extracted, by its layers: `generator`, `expression` or `identity`."""
    names = [layer.name for layer in model.layer]
    if not any(name.startswith('en2/') for name in names):
        return 'generator'
    return 'expression' if FC in names else 'identity'


def main(words=None):
    parser = argparse.ArgumentParser(prog='python3 -m tools.extract_weights',
                                     description=__doc__.split('\n')[0])
    parser.add_argument('folders', nargs='+', type=Path, metavar='RUN', help='of `make train`')
    parser.add_argument('--out', required=True, type=Path, help='the folder to write into')
    options = parser.parse_args(words)
    try:
        models = [extract(folder) for folder in options.folders]
        options.out.mkdir(parents=True, exist_ok=True)
        for model in models:
            files.write(options.out / f'{kind(model)}.caffemodel', model.SerializeToString())
    except OSError as error:
        raise SystemExit(f'{options.out} cannot be written ({error}): make room, or choose another '
                         '--out.') from None


if __name__ == '__main__':
    main()
