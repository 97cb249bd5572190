"""A trained network: loading it and sending faces through."""
import os

os.environ.setdefault('GLOG_minloglevel', '2')  # read by Caffe when it is imported
import caffe  # noqa: E402
import numpy as np  # noqa: E402

from tools import runs  # noqa: E402

CROP = 64
BATCH = 64


def load(folder):
    """The deploy network of a run folder with its last snapshot's weights, and that snapshot's iteration.

    Raises SystemExit where the folder has no whole snapshot.
    """
    snapshot = runs.last_snapshot(folder)
    if snapshot is None:
        raise SystemExit(f'{folder} has no snapshot: run `make train` first')
    caffe.set_mode_cpu()
    return caffe.Net(str(folder / 'deploy.prototxt'), str(snapshot.caffemodel), caffe.TEST), snapshot.iteration


def centre(crops):
    """The centre of 66 x 66 uint8 crops (N x 66 x 66) as the network takes it: N x 1 x 64 x 64, values in [0, 1]."""
    y, x = (np.array(crops.shape[1:]) - CROP) // 2
    return crops[:, None, y:y + CROP, x:x + CROP].astype(np.float32) / 255


def run(net, queries):
    """Every output of the network for queries N x 1 x 64 x 64: name to array of N rows."""
    outputs = []
    for start in range(0, len(queries), BATCH):
        batch = queries[start:start + BATCH]
        net.blobs['query'].reshape(*batch.shape)
        net.blobs['query'].data[...] = batch
        outputs.append({name: data.copy() for name, data in net.forward(blobs=pictures(net)).items()})
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def pictures(net):
    """The names of the pictures that the network draws."""
    return [name for name in ('generated', 'reconstructed_r', 'reconstructed_i') if name in net.blobs]
