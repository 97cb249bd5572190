"""The snapshots of a run, whole or damaged, and whether weights fit a network."""
import collections
import math
import re
import sys
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from data_prep import pair_lmdb
from tools.core import run_folder

KEPT = 2  # the last, and one to go back to where that is damaged

Snapshot = collections.namedtuple('Snapshot', 'iteration caffemodel solverstate')


def find_snapshots(folder):
    """The Snapshots of a run in ascending order, damaged ones too."""
    there = []
    for model in Path(folder, 'snapshots').glob('*_iter_*.caffemodel'):
        name = re.search(r'_iter_(\d+)$', model.stem)
        if name:
            there.append(Snapshot(int(name.group(1)), model, model.with_suffix('.solverstate')))
    return sorted(there)


def last_snapshot(folder, to_go_on=False):
    """The last whole Snapshot of a run (iteration and two paths), or None.

    A damaged one is passed over, with a sentence on stderr. The one that a complete run ended with
    is whole by its checksum, without its solverstate, which may have been removed to make room; but
    not to go on from.
    """
    for snapshot in reversed(find_snapshots(folder)):
        try:
            if not check_sum(folder, snapshot) or to_go_on:
                check_whole(snapshot)
        except ValueError as error:
            print(f'{error}: passed over.', file=sys.stderr)
        else:
            return snapshot
    return None


def last_weights(folder):
    """The last Snapshot of a run whose weights can be used, or None.

    A folder without any solverstate, so one from which no training goes on, needs a caffemodel
    alone; ValueError where that is not the one that was tested.
    """
    found = find_snapshots(folder)
    if not found or any(snapshot.solverstate.exists() for snapshot in found):
        return last_snapshot(folder)
    check_sum(folder, found[-1])
    return found[-1]


def check_whole(snapshot):
    """Raises ValueError, with the reason, for a snapshot that is not whole or holds nan or inf."""
    iteration, caffemodel, solverstate = snapshot
    model = parse(caffemodel, caffe_pb2.NetParameter())
    state = parse(solverstate, caffe_pb2.SolverState())
    # The solver keeps one history a learned blob, one for all layers that share it by name: their
    # number finds a file cut short at the seam between two messages.
    learned = {
        layer.param[i].name if i < len(layer.param) and layer.param[i].name else (layer.name, i)
        for layer in model.layer for i in range(len(layer.blobs))
    }
    if not learned or len(state.history) != len(learned) or state.iter != iteration:
        raise ValueError(f'{caffemodel} and its solverstate do not fit together or are cut short')
    # A sum is not finite where one number is not.
    if not all(math.isfinite(sum(blob.data)) for layer in model.layer for blob in layer.blobs):
        raise ValueError(f'{caffemodel} holds weights that are not finite')


def check_sum(folder, snapshot):
    """Whether the run keeps a checksum of this caffemodel, in its run.json: of the last one, from
    when its training ended. Raises ValueError where the caffemodel is another now."""
    try:
        run = run_folder.read_settings(folder)
    except SystemExit:  # whoever needs the settings will say it
        return False
    if run.get('averaged_at') != snapshot.iteration or 'sha256' not in run:
        return False
    if not snapshot.caffemodel.is_file():  # a link to a device would be read without end
        raise ValueError(f'{snapshot.caffemodel} is no file')
    try:
        kept = pair_lmdb.checksum(snapshot.caffemodel) == run['sha256']
    except OSError as error:
        raise ValueError(f'{snapshot.caffemodel} cannot be read ({error.strerror})') from None
    if not kept:
        raise ValueError(f'{snapshot.caffemodel} is not as it was written, by its checksum')
    return True


def check_fit(path, model, shapes):
    """Raises ValueError, naming `path`, where a NetParameter is of another net.

    shapes: {layer: [shape of each blob, a list]}. Caffe loads by layer name, and layers may be
    missing on either side.
    """
    # Caffe passes over what is of other layers, and aborts on a layer of another shape.
    common = [layer for layer in model.layer if layer.blobs and layer.name in shapes]
    if not common:
        raise ValueError(f'{path} is of another net: no layer with weights is in both')
    for layer in common:
        theirs = [list(blob.shape.dim) for blob in layer.blobs]
        if theirs != shapes[layer.name]:
            raise ValueError(f'{path} is of another net: layer {layer.name} is {theirs}, '
                             f'here {shapes[layer.name]}')


def parse(path, message):
    """Reads a protobuf file of Caffe into `message` and returns it.

    ValueError, naming it, if it cannot.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():  # a device would never end
            raise ValueError(f'{path} is no file')
        message.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror})') from None
    except DecodeError:
        raise ValueError(f'{path} is damaged or no file of Caffe') from None
    return message


def remove_after(folder, iteration):
    """Removes snapshots later than an iteration."""
    for number, *pair in find_snapshots(folder):
        if number > iteration:
            for file in pair:
                file.unlink(missing_ok=True)


def prune(folder, iteration):
    """Removes all but the last snapshots up to an iteration."""
    complete = [snapshot for snapshot in find_snapshots(folder)
                if snapshot.iteration <= iteration]
    for _, *pair in complete[:-KEPT]:
        for file in pair:
            file.unlink(missing_ok=True)
