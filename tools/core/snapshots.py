"""The snapshots of a run, whole or damaged, and whether weights fit a network."""
import collections
import math
import re
import sys
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

Snapshot = collections.namedtuple('Snapshot', 'iteration caffemodel solverstate')


def find_snapshots(folder):
    """The Snapshots of a run in ascending order, damaged ones too."""
    found = []
    for model in Path(folder, 'snapshots').glob('*_iter_*.caffemodel'):
        name = re.search(r'_iter_(\d+)$', model.stem)
        if name:
            found.append(Snapshot(int(name.group(1)), model, model.with_suffix('.solverstate')))
    return sorted(found)


def last_snapshot(folder):
    """The last whole Snapshot of a run (iteration and two paths), or None.

    A damaged one is passed over, with a sentence on stderr.
    """
    for snapshot in reversed(find_snapshots(folder)):
        try:
            check_whole(snapshot)
        except ValueError as error:
            print(f'{error}: passed over.', file=sys.stderr)
        else:
            return snapshot
    return None


def check_whole(snapshot):
    """Raises ValueError, with the reason, for a snapshot that is not whole or holds nan or inf."""
    iteration, caffemodel, solverstate = snapshot
    model = parse(caffemodel, caffe_pb2.NetParameter())
    state = parse(solverstate, caffe_pb2.SolverState())
    # The solver keeps one history a learned blob, one for all layers that share it by name: their
    # number finds a file cut short at the seam between two messages.
    learned = {
        layer.param[i].name if i < len(layer.param) and layer.param[i].name else (layer.name, i)
        for layer in model.layer
        for i in range(len(layer.blobs))
    }
    if not learned or len(state.history) != len(learned) or state.iter != iteration:
        raise ValueError(f'{caffemodel} and its solverstate do not fit together or are cut short')
    if not all(math.isfinite(sum(blob.data)) for layer in model.layer for blob in layer.blobs):
        raise ValueError(f'{caffemodel} holds weights that are not finite')


def check_fit(path, model, shapes):
    """Raises ValueError, naming `path`, where a parsed NetParameter is not of the net with these
    blob shapes.

    shapes: {layer: [shape of each blob, a list]}. Caffe loads by layer name, and layers may be
    missing on either side.
    """
    common = [layer for layer in model.layer if layer.blobs and layer.name in shapes]
    if not common:
        raise ValueError(f'{path} is of another net: no layer with weights is in both')
    for layer in common:
        theirs = [list(blob.shape.dim) for blob in layer.blobs]
        if theirs != shapes[layer.name]:
            raise ValueError(
                f'{path} is of another net: layer {layer.name} is {theirs}, here {shapes[layer.name]}'
            )


def parse(path, message):
    """Reads a protobuf file of Caffe into `message` and returns it; ValueError, naming it, if it
    cannot."""
    try:
        message.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror})') from None
    except DecodeError:
        raise ValueError(f'{path} is damaged or no file of Caffe') from None
    return message
