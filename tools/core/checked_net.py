"""The deploy network of a model folder from anybody: known to be harmless before Caffe sees it.

What a prototxt describes, Caffe does: a Python layer runs any module, an HDF5Output layer writes
any file, and a size that does not fit aborts the whole process. So a network passes that is the
one prototxt/net.py makes of the folder's settings. Any other (of an older net.py, say) passes
where its layers only compute, its Python layers are ours, and a process of its own has tried it.
"""
import importlib
import json
import re
import sys
from pathlib import Path

import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from prototxt import net
from tools.core import caffe_process, files
from tools.core.caffe_process import ROOT

LONGEST = 10 ** 6  # bytes of a deploy.prototxt; ours are near 20,000
MOST = 20_000  # classes of an identification net, dimensions of a latent code

# Layers of Caffe that compute their tops from their bottoms, and neither read nor write a file.
COMPUTING = {
    'AbsVal', 'ArgMax', 'BNLL', 'BatchNorm', 'Bias', 'Concat', 'Convolution', 'Crop',
    'Deconvolution', 'Dropout', 'ELU', 'Eltwise', 'Exp', 'Flatten', 'InnerProduct', 'Input', 'LRN',
    'Log', 'MVN', 'PReLU', 'Pooling', 'Power', 'Python', 'ReLU', 'Reduction', 'Reshape', 'Scale',
    'Sigmoid', 'Silence', 'Slice', 'Softmax', 'Split', 'TanH', 'Threshold', 'Tile'}


def read_network(folder, batch):
    """The text of the deploy network in a run folder (Path), for Caffe.

    batch: how many faces are sent through at once. Raises ValueError, naming the file, where it is
    missing, damaged, of layers that are not known to be harmless, or fails in Caffe.
    """
    path = folder / 'deploy.prototxt'
    given = parse(path)
    # Compared as messages, not as texts: a comment or a blank line makes no other network.
    if given != rebuild(folder):
        check_layers(path, given)
        try:
            caffe_process.blob_shapes(text_format.MessageToString(given), batch)
        except SystemExit as error:
            raise ValueError(f'{path}: {printable(str(error)[:300].rstrip("."))}') from None
    return text_format.MessageToString(given)


def parse(path):
    """A prototxt file as a NetParameter; ValueError, naming the file, where it is none."""
    if not path.is_file():
        raise ValueError(f'{path} is missing, or no file')
    try:
        return text_format.Parse(files.read_text(path, LONGEST), caffe_pb2.NetParameter())
    except UnicodeDecodeError as error:
        reason = f'it is not UTF-8: byte {error.start}'
    except (OSError, ValueError, RecursionError, text_format.ParseError) as error:
        reason = printable(str(error)[:200])
    raise ValueError(f'{path} is damaged or no network of Caffe ({reason})')


def rebuild(folder):
    """The NetParameter that prototxt/net.py makes of a run's settings; None where it cannot."""
    try:
        run = json.loads(files.read_text(folder / 'run.json'))
        settings = run.get('settings', {})
        settings = {name: settings[name] for name in settings if name in net.SETTINGS}
        # so large a net is to be tried before it is loaded
        sizes = [settings.get(name, 0) for name in ('latent', 'expression_latent')]
        if max(len(run['classes']), *sizes) > MOST:
            return None
        text = net.deploy(run['variant'], len(run['classes']), **settings)
        return text_format.Parse(text, caffe_pb2.NetParameter())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def check_layers(path, given):
    """Raises ValueError, naming `path`, where a NetParameter has a layer that could do anything but
    compute, or two of one name."""
    # Caffe's old ways to name layers and inputs would go past this check.
    other = [field.name for field, _ in given.ListFields() if field.name not in ('name', 'layer')]
    if other:
        raise ValueError(f'{path} has `{other[0]}` outside of its layers, which is not taken')
    names = [layer.name for layer in given.layer]
    for layer in given.layer:
        if names.count(layer.name) > 1:  # Caffe would give the weights of one to the other
            raise ValueError(f'{path} has two layers of the name {layer.name[:60]!r}')
        where = f'{path}, layer {layer.name[:60]!r}'
        if layer.type not in COMPUTING:
            raise ValueError(f'{where} is of type {layer.type[:60]!r}, which is not taken: it may '
                             'read or write files')
        if layer.include or layer.exclude:  # whether it is there at all would depend on these
            raise ValueError(f'{where} has `include` or `exclude`, which is not taken')
        if layer.type == 'Python':
            python = layer.python_param
            if not is_ours(python.module, python.layer):
                raise ValueError(f'{where} would run {python.layer[:60]!r} of the Python module '
                                 f'{python.module[:60]!r}, which is not of this project')


def is_ours(module, name):
    """Whether that is a layer in a file of our folder layers/; no other module is imported."""
    own = re.fullmatch(r'layers\.([A-Za-z]\w*)', module, re.ASCII)
    file = own and ROOT / 'layers' / f'{own.group(1)}.py'
    if not file or not file.is_file():
        return False
    found = getattr(import_ours(module), name, None)
    return isinstance(found, type) and issubclass(found, caffe.Layer) and found.__module__ == module


def import_ours(module):
    """Imports `layers` or a module of it from this checkout, whatever folder of that name lies in
    the working directory; SystemExit where another was imported before."""
    sys.path.insert(0, str(ROOT))
    try:
        found = importlib.import_module(module)
    finally:
        sys.path.remove(str(ROOT))
    if ROOT / 'layers' not in Path(found.__file__ or '').resolve().parents:
        raise SystemExit(f'Python has imported another `layers` than {ROOT}/layers: '
                         f'{found.__file__}. Start without it.')
    return found


def printable(text):
    """The text in one line, without what would steer a terminal."""
    return ''.join(sign if sign.isprintable() else ' ' for sign in text)


for each in (ROOT / 'layers').glob('*.py'):  # before Caffe looks for them by its own way
    import_ours('layers' if each.stem == '__init__' else f'layers.{each.stem}')
