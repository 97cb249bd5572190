"""A trained network: loading it and sending faces through."""
import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from data_prep import align
from prototxt.net import CROP
from tools.core import snapshots

BATCH = 64
# of the faces; run.json keeps it as `crop`
ALIGNMENT = dict(size=align.SIZE, target=align.TARGET.tolist())


def load(folder):
    """The deploy network of a run folder with its last snapshot's weights, and that snapshot's
    iteration.

    A folder without any solverstate, so one from which no training goes on, needs a caffemodel
    alone. Raises SystemExit where the folder has no whole snapshot, or one of another net.
    """
    found = snapshots.find_snapshots(folder)
    weights_only = not any(snapshot.solverstate.exists() for snapshot in found)
    snapshot = found[-1] if found and weights_only else snapshots.last_snapshot(folder)
    if snapshot is None:
        raise SystemExit(f'{folder} has no snapshot: run `make train` first.')
    caffe.set_mode_cpu()
    try:  # Caffe itself would abort
        text = (folder / 'deploy.prototxt').read_text(encoding='utf-8')
        text_format.Parse(text, caffe_pb2.NetParameter())
        net = caffe.Net(str(folder / 'deploy.prototxt'), caffe.TEST)
        shapes = {
            name: [list(blob.data.shape)
                   for blob in blobs]
            for name, blobs in net.params.items()
        }
        snapshots.check_sum(folder, snapshot)
        model = snapshots.parse(snapshot.caffemodel, caffe_pb2.NetParameter())
        snapshots.check_fit(snapshot.caffemodel, model, shapes)
        missing = set(shapes) - {layer.name for layer in model.layer if layer.blobs}
        if missing:  # cut short at the seam of two messages, it would still be read
            raise ValueError(
                f'{snapshot.caffemodel} is cut short or of another net: without {min(missing)}')
    except (OSError, ValueError, text_format.ParseError) as error:
        raise SystemExit(f'{error}: remove {folder} and train again.') from None
    net.copy_from(str(snapshot.caffemodel))
    if not all(np.isfinite(blob.data).all() for blobs in net.params.values() for blob in blobs):
        raise SystemExit(f'{snapshot.caffemodel} holds weights that are not finite: '
                         f'remove {folder} and train again.')
    return net, snapshot.iteration


def centre(crops):
    """The centre of 66 x 66 uint8 crops (N x 66 x 66) as the network takes it: N x 1 x 64 x 64,
    values in [0, 1]."""
    y, x = (np.array(crops.shape[1:]) - CROP) // 2
    return crops[:, None, y:y + CROP, x:x + CROP].astype(np.float32) / 255


def run(net, queries, blobs=None):
    """Every output of the network, and the named blobs (default: its pictures), for queries N x 1 x
    64 x 64: name to array of N rows."""
    outputs, blobs = [], pictures(net) if blobs is None else blobs
    for start in range(0, len(queries), BATCH):
        batch = queries[start:start + BATCH]
        net.blobs['query'].reshape(*batch.shape)
        net.blobs['query'].data[...] = batch
        outputs.append({name: data.copy() for name, data in net.forward(blobs=blobs).items()})
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def pictures(net):
    """The names of the pictures that the network draws."""
    return [
        name for name in ('generated', 'reconstructed_r', 'reconstructed_i') if name in net.blobs
    ]
