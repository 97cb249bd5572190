"""Batch norm's averages once more, for the weights that a training ended with; tools.train does it.

    python3 -m tools.core.batchnorm_averages runs/demo/s1r1/fold3_seed1 [GPU]

In training they follow weights that move, and hold the last batches only. Here the weights stand
still, and each mean and variance is the mean of those of all batches of one pass over the training
set, augmented as in training (at most MOST batches; "precise" batch norm, Wu and Johnson 2021,
arXiv 2105.07576). The last snapshot's caffemodel is replaced; nothing else in it changes.
"""
import sys
from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tools.core import files, run_folder, snapshots

MOST = 30  # batches; half of the demo's training images in batches of 32


def main():
    folder, gpu = Path(sys.argv[1]), sys.argv[2:]
    if gpu:
        caffe.set_mode_gpu()
        caffe.set_device(int(gpu[0]))
    run, snapshot = run_folder.read_settings(folder), snapshots.last_snapshot(folder)
    # The training phase: each batch is normalised by itself, as it was when the weights learned.
    with files.temporary(without_dropout(folder / 'net.prototxt'), '.prototxt') as path:
        net = caffe.Net(path, str(snapshot.caffemodel), caffe.TRAIN)
    batches = min(MOST, -(-run['n_train'] // run['batch']))
    replace(snapshot.caffemodel, measure(net, batches))


def without_dropout(path):
    """A network's text in which Dropout passes all on, as it does in the test: what a batch norm
    behind it averages, such as that of a short code, is then what it will see."""
    network = text_format.Parse(run_folder.read_text(path), caffe_pb2.NetParameter())
    for layer in network.layer:
        if layer.type == 'Dropout':
            layer.type = 'Power'  # without parameters, the identity
            layer.ClearField('dropout_param')
    return text_format.MessageToString(network)


def measure(net, batches):
    """{batch norm layer: [mean, variance, 1]}, as Caffe keeps them, of so many training batches."""
    layers = [name for name in net.params if net.layer_dict[name].type == 'BatchNorm']
    sums = {name: 0 for name in layers}
    for _ in range(batches):
        for name in layers:
            for blob in net.params[name]:
                blob.data[...] = 0  # so that after the pass they are this batch's own
        net.forward()
        for name in layers:
            mean_and_variance = [blob.data.astype(float) for blob in net.params[name][:2]]
            sums[name] = sums[name] + np.stack(mean_and_variance)
    # Caffe divides the two by their third blob, the count: 1 leaves them as they are.
    return {name: [*(total / batches), np.ones(1)] for name, total in sums.items()}


def replace(path, found):
    """Puts {layer: [values of each blob]} into a caffemodel, complete or not at all."""
    model = snapshots.parse(path, caffe_pb2.NetParameter())
    for layer in model.layer:
        for blob, values in zip(layer.blobs, found.get(layer.name, ())):
            del blob.data[:]
            blob.data.extend(np.asarray(values, np.float32).tolist())
    files.write(path, model.SerializeToString())


if __name__ == '__main__':
    main()
