"""A trained network: loading it and sending faces through."""
import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from data_prep import align
from prototxt.net import CROP
from tools.core import checked_net, files, snapshots

BATCH = 64
# How faces are cropped now: run.json keeps it as `crop`, and a run of other crops is refused.
ALIGNMENT = dict(size=align.SIZE, target=align.TARGET.tolist())


def load(folder, text=None):
    """The deploy network of a run folder (Path) with its last weights, and their iteration.

    text: another network of ours for the same weights, as prototxt. Raises SystemExit where the
    folder has no whole snapshot (see snapshots.last_weights), or one of another net, or a network
    that must not or cannot run (see checked_net).
    """
    text = text or read_text(folder)
    caffe.set_mode_cpu()
    try:  # Caffe itself would abort
        snapshot = snapshots.last_weights(folder)
        if snapshot is None:
            raise SystemExit(f'{folder} has no snapshot: run `make train` first.')
        net = build(text)
        load_weights(net, snapshot.caffemodel)
    except OSError as error:  # a full disk, say, which is no fault of the run
        raise SystemExit(f'{folder} cannot be loaded: {error}.') from None
    except ValueError as error:
        raise SystemExit(f'{error}: remove {folder} and train again.') from None
    return net, snapshot.iteration


def read_text(folder):
    """The deploy network of a run folder (Path) as prototxt text.

    SystemExit where it must not or cannot run (see checked_net).
    """
    try:
        return checked_net.read_network(folder, BATCH)
    except (OSError, ValueError) as error:
        raise SystemExit(f'{error}: remove {folder} and train again.') from None


def build(text):
    """The caffe.Net, for use, that a prototxt describes."""
    with files.temporary(text, '.prototxt') as path:
        return caffe.Net(path, caffe.TEST)


def cut(net, text, blobs):
    """A Net of those layers alone that the named blobs need, with the weights of `net` in memory.

    text: what `net` was built of, as prototxt. `blobs` are among its outputs, or one layer takes
    them.
    """
    network, needed = text_format.Parse(text, caffe_pb2.NetParameter()), set(blobs)
    layers, names = [], {layer.name for layer in network.layer}
    for layer in reversed(network.layer):
        if needed.intersection(layer.top):
            needed.update(layer.bottom)
            layers.insert(0, layer)

    # What no layer takes any more, such as a decoder's switches, would be an output.
    left = {top for layer in layers for top in layer.top} - needed
    del network.layer[:]
    network.layer.extend(layers)
    if left:  # under a name that no layer has: its weights would be shared
        network.layer.add(name=max(names) + '_', type='Silence', bottom=sorted(left))
    smaller = build(text_format.MessageToString(network))
    smaller.share_with(net)
    return smaller


def load_weights(net, path):
    """Loads a caffemodel into a net.

    ValueError, naming the file, where it is damaged or does not fit.
    """
    model = snapshots.parse(path, caffe_pb2.NetParameter())
    shapes = {name: [list(blob.data.shape) for blob in blobs]
              for name, blobs in net.params.items()}
    snapshots.check_fit(path, model, shapes)

    # Caffe gets what was checked, nothing else: it aborts where a file is not as it wants it.
    model = weights_of(model, net)
    loaded = {layer.name for layer in model.layer}
    filled = {place for name in loaded for place in places(net, name)}
    # A twin may have no weights of its own in the file: they are another layer's.
    missing = {name for name in shapes if not (name in loaded or places(net, name) <= filled)}
    if missing:  # cut short at the seam of two messages, it would still be read
        raise ValueError(f'{path} is cut short or of another net: without {min(missing)}')
    for layer in model.layer:
        for blob in layer.blobs:
            keep_values(blob)
            if len(blob.data) != np.prod(blob.shape.dim):
                raise ValueError(f'{path} is damaged: layer {layer.name} has too few or too many '
                                 'numbers')
    with files.temporary(model.SerializeToString(), '.caffemodel') as path:
        net.copy_from(path)

    if not all(np.isfinite(blob.data).all() for blobs in net.params.values() for blob in blobs):
        raise ValueError(f'{path} holds weights that are not finite')


def places(net, name):
    """Where in memory the blobs of a layer begin, by which shared ones are known."""
    return {blob.data.__array_interface__['data'][0] for blob in net.params[name]}


def keep_values(blob):
    """Removes from a BlobProto all but shape and values, such as a second shape of the old form."""
    for field, _ in blob.ListFields():
        if field.name not in ('shape', 'data'):
            blob.ClearField(field.name)


def weights_of(model, net):
    """The names, types and weights of a NetParameter's layers that have weights in the Net `net`.

    What goes is the training network's description, with the paths of its data, and layers of
    training alone.
    """
    return caffe_pb2.NetParameter(name=model.name, layer=[
        caffe_pb2.LayerParameter(name=layer.name, type=layer.type, blobs=layer.blobs)
        for layer in model.layer if layer.blobs and layer.name in net.params])


def centre(crops):
    """The centre of crops as the network takes it: N x 1 x 64 x 64, values in [0, 1].

    crops: uint8, N x 66 x 66.
    """
    y, x = (np.array(crops.shape[1:]) - CROP) // 2
    return crops[:, None, y:y + CROP, x:x + CROP].astype(np.float32) / 255


def run(net, queries, blobs=None, **more):
    """Every output of the network, and the named blobs (default: its pictures), for queries N x 1 x
    64 x 64, and for as many of each further input that it has: name to array of N rows."""
    outputs, blobs = [], pictures(net) if blobs is None else blobs
    for start in range(0, len(queries), BATCH):
        for name, images in dict(more, query=queries).items():
            batch = images[start:start + BATCH]
            net.blobs[name].reshape(*batch.shape)
            net.blobs[name].data[...] = batch
        outputs.append({name: data.copy() for name, data in net.forward(blobs=blobs).items()})
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def pictures(net):
    """The names of the pictures that the network draws."""
    return [name for name in ('generated', 'reconstructed_r', 'reconstructed_i')
            if name in net.blobs]
