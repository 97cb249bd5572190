"""The exported model in ONNX, run by onnxruntime and by the example beside it, against Caffe."""
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import caffe
import cv2
import drawn
import numpy as np
import onnx
import onnxruntime
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from test_predict import CLASSES, make_run

from data_prep import align, detect, pictures
from tools import export
from tools.core import checked_net, network, onnx_model, predictor

ROOT = Path(__file__).resolve().parents[1]
LONDON = ROOT.parent / 'shared/data/london/images'
NETS = {
    'cnn': {}, 'metric': {}, 's0r0': {}, 's1r0': {}, 's0r1': {}, 's1r1': {},
    's1r1 switches': dict(decoder='switches'), 's1r0 change': dict(generator='change'),
    's0r1 raw': dict(codes='raw', standardize=False), 's0r0 length': dict(code_length=78.4),
    's1r1 normalized': dict(picture='normalized'), 's1r1 together': dict(streams='together'),
    'disentangled': {}, 'disentangled switches': dict(decoder='switches', latent=9),
    'degan': dict(latent=9), 's1r1 vae': dict(generator='vae'),
    's0r1 all': dict(decoder='switches', generator='change', picture='normalized', codes='raw'),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_tested_run(folder, variant, **settings):
    """A run with random weights, as after a training: no average, count, gain or offset is at its
    start."""
    make_run(folder, variant, **settings)
    (folder / 'result.json').write_text('{"iterations": 5}')
    made = caffe.Net(str(folder / 'deploy.prototxt'), caffe.TEST)
    path = str(folder / f'snapshots/{variant}_iter_5.caffemodel')
    made.copy_from(path)
    random = np.random.RandomState(1)
    for name, blobs in made.params.items():
        if '/bn' in name or name == 'standardized':
            for blob, (low, high) in zip(blobs, ((-.2, .2), (.5, 2), (3, 3))):
                blob.data[...] = random.uniform(low, high, blob.data.shape)
        elif '/scale' in name:
            blobs[0].data[...] *= random.uniform(.7, 1.5, blobs[0].data.shape)
            blobs[1].data[...] += random.uniform(-.1, .1, blobs[1].data.shape)
        elif name == 'score_disentangled':  # of a code so large its softmax would be at an end
            blobs[0].data[...] *= .1
    made.save(path)
    return folder


def run_onnx(file, queries, **given):
    """Every output of a model for the queries, by name; file: a path, or the model's bytes; given:
    further inputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {'query': queries, **given})))


def draw_queries(n):
    """Faces with some noise: of two patches that are equal, the last bit would say which is the
    maximum."""
    queries = network.centre(np.array([align.crop(*drawn.face(i)) for i in range(n)]))
    return (queries + np.random.RandomState(0).uniform(0, .03, queries.shape)).astype(np.float32)


def name_switches(model, folder):
    """The switches of the model of a run: their name in Caffe to their own."""
    owners = {layer.name: layer.top[1] for layer in checked_net.parse(
        folder / 'deploy.prototxt').layer if layer.type == 'Pooling' and layer.top[1:]}
    return {owners[node.name.rsplit('/', 1)[0]]: node.output[0]
            for node in model.graph.node if node.op_type == 'Mod'}


def run_by_switches(content, folder, caffes, queries):
    """What the model of a run (its bytes) gives with the maxima where Caffe found them.

    Of two patches that are equal, the last bit says which is the maximum, and Caffe's own numbers
    change there with the processor.
    """
    model = onnx.load_from_string(content)
    names = name_switches(model, folder)
    kept = [node for node in model.graph.node if node.op_type != 'Mod']
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for name in names.values():
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, 7, [None] * 4))
    given = {names[name]: caffes[name].astype(np.int64) for name in names}
    return run_onnx(model.SerializeToString(), queries, **given)


# ---------------------------------------------------------------- the model against Caffe

@pytest.mark.parametrize('name', NETS)
def test_every_network_gives_what_caffe_gives(place, name):
    folder = make_tested_run(place / 'run', name.split()[0], **NETS[name])
    export.export(folder, Path('model'))
    queries = draw_queries(5)
    net, _ = network.load(folder)
    caffes = network.run(net, queries, blobs=list(net.blobs))
    content = Path('model/model.onnx').read_bytes()
    free = run_onnx(content, queries)
    tied = run_by_switches(content, folder, caffes, queries)
    alone = run_onnx(content, queries[2:3])  # any number of faces
    assert list(free) == ['prob', *network.pictures(net)]
    for blob in free:
        # What was drawn has equal patches, black ones, and is coded again for the reconstructions.
        expected = caffes[blob]
        for found in (tied,) if 'reconstructed' in blob else (tied, free):
            assert found[blob].shape == expected.shape
            assert np.abs(found[blob] - expected).max() < 1e-4, blob
        assert np.ptp(expected, axis=0).max() > 1e-3, blob  # it does depend on the face
        assert np.abs(alone[blob] - free[blob][2:3]).max() < 1e-5


def test_what_the_model_says_of_itself(place):
    export.export(make_tested_run(place / 'run', 's1r1', decoder='switches'), Path('model'))
    about = json.loads(Path('model/model.json').read_text())
    model = onnx.load('model/model.onnx')
    assert {each.key: json.loads(each.value) for each in model.metadata_props} == about
    assert about['classes'] == CLASSES and about['variant'] == 's1r1' and about['iteration'] == 5
    assert [about['crop'], about['centre']] == [66, 64]
    assert about['target'] == align.TARGET.tolist() and about['points'] == detect.PARTS
    assert list(about['outputs']) == [output.name for output in model.graph.output] == [
        'prob', 'generated', 'reconstructed_r', 'reconstructed_i']
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [('', 13)]
    assert {node.domain for node in model.graph.node} == {''}
    # weights that two encoders share are there once
    size = Path('model/model.onnx').stat().st_size
    assert size < next(Path('model/snapshots').iterdir()).stat().st_size


# Parts that our networks have, and settings of them that they have not: the sizes of Caffe's
# pooling are rounded up, and windows that begin behind the picture are left out.
POOL = 'layer {{ name: "p" type: "Pooling" bottom: "query" top: "prob" pooling_param {{ {} }} }}'
UNPOOL = '''layer {{ name: "p" type: "Pooling" bottom: "query" top: "y" top: "s"
    pooling_param {{ {} }} }}
    layer {{ name: "u" type: "Python" bottom: "y" bottom: "s" top: "prob" python_param {{
    module: "layers.unpool" layer: "Unpool" param_str: "{{\\"stride\\": {}}}" }} }}'''
LAYER = 'layer {{ name: "l" type: "{}" bottom: "query" top: "prob" {} }}'
PARTS = [
    (12, UNPOOL.format('kernel_size: 5 stride: 2 pad: 1', 2)),
    (12, UNPOOL.format('kernel_size: 3 stride: 2', 2)),
    (12, UNPOOL.format('kernel_size: 5 stride: 3 pad: 1', 3)),
    (12, UNPOOL.format('kernel_h: 5 kernel_w: 3 stride: 2 pad_h: 1 pad_w: 0', 2)),
    (12, UNPOOL.format('kernel_size: 3 stride: 1 pad: 1', 1)),
    (13, POOL.format('kernel_size: 3 stride: 2')), (13, POOL.format('kernel_size: 2 stride: 2')),
    (11, POOL.format('kernel_size: 2 stride: 3')),
    (13, POOL.format('kernel_size: 3 stride: 2 pad: 2')),
    (13, POOL.format('kernel_size: 2 stride: 2 pad: 1')),
    (11, LAYER.format('Convolution', 'convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 '
                      'stride: 2 pad_h: 1 pad_w: 0 group: 3 dilation: 2 }')),
    (11, LAYER.format('Deconvolution', 'convolution_param { num_output: 6 kernel_size: 3 '
                      'stride: 2 pad: 1 group: 3 }')),
    (9, LAYER.format('InnerProduct', 'inner_product_param { num_output: 4 transpose: true }')),
    (9, LAYER.format('InnerProduct', 'inner_product_param { num_output: 4 bias_term: false }')),
    (9, LAYER.format('Scale', '')), (9, LAYER.format('Scale', 'scale_param { bias_term: true }')),
    (9, LAYER.format('Scale', 'scale_param { axis: 2 num_axes: 2 bias_term: true }')),
    (9, LAYER.format('BatchNorm', 'batch_norm_param { eps: 0.1 }')),
    (9, LAYER.format('ReLU', 'relu_param { negative_slope: 0.3 }')),
    (9, LAYER.format('Power', 'power_param { power: 2 scale: 0.5 shift: -1 }')),
    (9, LAYER.format('Softmax', 'softmax_param { axis: 2 }')), (9, LAYER.format('Split', '')),
    (9, LAYER.format('Dropout', '')),
]


def build_part(size, text):
    """The layers in `text` behind a query of 3 planes, and a Net of them with weights."""
    text = f'''layer {{ name: "query" type: "Input" top: "query" input_param {{
        shape {{ dim: 4 dim: 3 dim: {size} dim: {size} }} }} }} {text}'''
    part, random = network.build(text), np.random.RandomState(2)
    for blobs in part.params.values():
        for blob in blobs:
            blob.data[...] = random.uniform(.5, 1.5, blob.data.shape)
    return text_format.Parse(text, caffe_pb2.NetParameter()).layer, part


@pytest.mark.parametrize('size, text', PARTS)
def test_each_layer_gives_what_caffe_gives(size, text):
    """Of small whole numbers, so many maxima are found twice: Caffe takes the first."""
    layers, part = build_part(size, text)
    x = np.random.RandomState(3).randint(-3, 4, (4, 3, size, size)).astype(np.float32)
    part.blobs['query'].data[...] = x
    expected = part.forward()['prob'].copy()
    found = run_onnx(onnx_model.convert(layers, part, {}), x)['prob']
    assert found.shape == expected.shape and np.ptp(expected) > 0
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize('text, reason', [
    (LAYER.format('Sigmoid', ''), "is of type 'Sigmoid'"),
    (LAYER.format('Convolution', 'include { phase: TEST } convolution_param { num_output: 1 '
                  'kernel_size: 3 }'), "is of type 'Convolution'"),
    (LAYER.format('Pooling', 'pooling_param { pool: AVE kernel_size: 3 }'),
     'pools otherwise than by the maximum in windows'),
    (LAYER.format('Pooling', 'pooling_param { global_pooling: true }'), 'pools otherwise'),
    (POOL.format('kernel_size: 2 stride: 3'), 'has windows with nothing in them'),
    (LAYER.format('Eltwise', 'bottom: "query" eltwise_param { operation: MAX }'), 'does not add'),
    (LAYER.format('Eltwise', 'bottom: "query" eltwise_param { coeff: 1 coeff: -1 }'),
     'has a coeff of its own'),
    (LAYER.format('Scale', 'bottom: "query" scale_param { axis: 0 }'), 'scales by another blob'),
    (LAYER.format('InnerProduct', 'inner_product_param { num_output: 4 axis: 2 }'),
     'has a axis of its own'),
    (LAYER.format('BatchNorm', 'batch_norm_param { use_global_stats: false }'),
     'takes its averages over the batch'),
    (UNPOOL.format('kernel_size: 3 stride: 2', 1), 'unpools by what is no switch of a pooling'),
    (UNPOOL.format('kernel_size: 3 stride: 2', 2).replace('bottom: "s"', 'bottom: "y"'),
     'unpools by what is no switch of a pooling'),
])
def test_what_has_no_form_is_refused_by_name(text, reason):
    layers, part = build_part(12, text)
    with pytest.raises(ValueError) as caught:
        onnx_model.convert(layers, part, {})
    said = str(caught.value)
    assert re.match(r"layer '[lpu]' ", said) and reason in said
    assert said.endswith(', which has no form in ONNX here')


def test_a_network_of_somebody_else_is_exported_without_onnx(place, capsys):
    """One that Caffe and checked_net take, with a layer that none of ours has."""
    folder = make_tested_run(place / 'run', 'cnn')
    path = folder / 'deploy.prototxt'
    path.write_text(path.read_text().replace('type: "ReLU"', 'type: "TanH"', 1))
    export.export(folder, Path('model'))
    assert capsys.readouterr().err.endswith(
        f"Without model.onnx: in {path} layer 'en2/relu1' is of type 'TanH', which has no form in "
        'ONNX here.\n')
    assert sorted(os.listdir('model')) == ['deploy.prototxt', 'result.json', 'run.json',
                                           'snapshots']
    predictor.Predictor('model')


def test_a_network_that_runs_code_is_not_exported(place):
    folder = make_tested_run(place / 'run', 'cnn')
    (folder / 'deploy.prototxt').write_text(
        (folder / 'deploy.prototxt').read_text() + 'layer { name: "more" type: "Python" bottom: '
        '"prob" top: "more" python_param { module: "os" layer: "abort" } }')
    with pytest.raises(SystemExit, match="would run 'abort' of the Python module 'os'"):
        export.export(folder, Path('model'))
    assert os.listdir() == ['run']


def test_opencv_runs_the_cnn_by_itself(place):
    folder = make_tested_run(place / 'run', 'cnn')
    queries = draw_queries(5)
    expected = network.run(network.load(folder)[0], queries)['prob']
    found = cv2.dnn.readNetFromCaffe(str(folder / 'deploy.prototxt'),
                                     str(folder / 'snapshots/cnn_iter_5.caffemodel'))
    found.setInput(queries)
    assert np.abs(found.forward() - expected).max() < 1e-5 and np.ptp(expected, axis=0).max() > 1e-3


# ---------------------------------------------------------------- real faces

@pytest.fixture(scope='module')
def london():
    """(picture, five points) of real faces."""
    if not LONDON.exists():
        pytest.skip('no photographs in ../shared/data/london')
    images = [predictor.read_grey(path) for path in sorted(LONDON.glob('*.jpg'))[:200:8]]
    return [(image, detect.faces(image)[0]) for image in images]


@pytest.fixture(scope='module', params=['shipped', 'switches'])
def photographed(request, london, tmp_path_factory):
    """Two models on real faces: a run, its model in ONNX, every blob of Caffe, the queries.

    The shipped one, whose generator has no switches, and one whose generator, that of the drawn
    people, has them; what follows it there is random."""
    folder = ROOT / predictor.SHIPPED
    if request.param == 'switches':
        folder = make_tested_run(tmp_path_factory.mktemp('switches') / 'run', 's0r0',
                                 generator='change', decoder='switches')
        path = str(folder / 'snapshots/s0r0_iter_5.caffemodel')
        made = caffe.Net(str(folder / 'deploy.prototxt'), path, caffe.TEST)
        made.copy_from(str(ROOT / 'prototxt/pretrained/generator.caffemodel'))
        made.save(path)
    net, _ = network.load(folder)
    layers = checked_net.parse(folder / 'deploy.prototxt').layer
    queries = network.centre(np.array([align.crop(*face) for face in london]))
    caffes = network.run(net, queries, blobs=list(net.blobs))
    return folder, onnx_model.convert(layers, net, {}), caffes, queries


def test_real_faces_by_caffes_switches(photographed):
    folder, content, caffes, queries = photographed
    found = run_by_switches(content, folder, caffes, queries)
    assert len(found) == (4 if folder == ROOT / predictor.SHIPPED else 2)
    for name in found:
        assert np.abs(found[name] - caffes[name]).max() < 1e-4, name
    assert len(set(caffes['prob'].argmax(1))) > 1


def test_real_faces_by_its_own_switches(photographed):
    """Where a switch of the generator is another than Caffe's, Caffe's two values there are equal
    up to rounding; a face without any such gives the same to 1e-4."""
    folder, content, caffes, queries = photographed
    model = onnx.load_from_string(content)
    switches = {name: own for name, own in name_switches(model, folder).items()
                if name.startswith('en1/')}  # those of En2 serve the reconstructions alone
    assert len(switches) == (0 if folder == ROOT / predictor.SHIPPED else 3)
    for name in switches.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 7, None))
    found = run_onnx(model.SerializeToString(), queries)

    same = np.ones(len(queries), bool)
    for name in switches:
        values = caffes[name.replace('switch', 'conv')]
        values = values.reshape(*values.shape[:2], -1)
        both = [switch.astype(np.int64).reshape(*values.shape[:2], -1)
                for switch in (caffes[name], found[switches[name]])]
        assert np.ptp([np.take_along_axis(values, each, 2) for each in both], axis=0).max() < 1e-5
        same &= (both[0] == both[1]).all((1, 2))
    assert same.sum() >= 5
    for name in 'prob', 'generated':
        assert np.abs(found[name] - caffes[name])[same].max() < 1e-4


# ---------------------------------------------------------------- the example

def run_example(*arguments):
    """predict.py of the folder `elsewhere`, in a Python that sees nothing of the project."""
    return subprocess.run([sys.executable, '-I', 'elsewhere/predict.py', *map(str, arguments)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={'PATH': os.environ['PATH']})


def read_probabilities(text):
    return {name: float(number) for name, number in map(str.split, text.splitlines())}


def test_the_example_needs_nothing_of_the_project():
    text = export.EXAMPLE.read_text()
    assert len(text.splitlines()) < 60
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
        elif isinstance(node, ast.Import):
            imported.update(name.name for name in node.names)
    assert imported == {'json', 'sys', 'pathlib', 'cv2', 'numpy', 'onnxruntime'}


@pytest.mark.parametrize('name', ['cnn', 's1r1 switches'])
def test_the_example_elsewhere(place, name):
    """A drawn face in a photograph, by its points, and as a crop."""
    export.export(make_tested_run(place / 'run', name.split()[0], **NETS[name]), Path('model'))
    shutil.move('model', 'elsewhere')
    (image, points), trained = drawn.face(7), predictor.Predictor('run')
    crop = align.crop(image, points)
    (face,), = trained.recognise([[(points, crop)]])
    drawn.write(Path('photo.png'), image)
    drawn.write(Path('face.png'), crop)
    for arguments in (('photo.png', *points.ravel()), ('face.png',)):
        done = run_example(*arguments)
        found = read_probabilities(done.stdout)
        assert done.returncode == 0 and not done.stderr
        assert found == pytest.approx(face.probabilities, abs=1e-4)
        assert list(found) == sorted(found, key=found.get, reverse=True)
        if name == 'cnn':
            assert not Path('reference.png').exists()
            continue
        row = cv2.imread('reference.png', cv2.IMREAD_GRAYSCALE)[2::4, 2::4] / 255
        Path('reference.png').unlink()
        reference = face.reference.clip(0, 1)
        assert row.shape == (64, 192)
        for part, expected in zip(np.hsplit(row, 3), (
                face.face, reference, (3 * abs(face.face - reference)).clip(0, 1))):
            assert np.abs(part - expected).max() < 0.006  # half a level, and rounding


def test_the_example_on_photographs(place, london):
    """In colour and as large as they are, with the points of our detector."""
    export.export(ROOT / predictor.SHIPPED, Path('elsewhere'))
    trained = predictor.Predictor(ROOT / predictor.SHIPPED)
    path = sorted(LONDON.glob('*.jpg'))[0]
    image, points = london[0]
    (face,), = trained.recognise([[(points, align.crop(image, points))]])
    assert (pictures.decode(path.read_bytes()) == image).all()
    found = read_probabilities(run_example(path, *points.ravel()).stdout)
    assert found == pytest.approx(face.probabilities, abs=1e-4)


def test_the_example_says_what_it_wants(place):
    export.export(make_tested_run(place / 'run', 'cnn'), Path('elsewhere'))
    drawn.write(Path('photo.png'), drawn.face(7)[0])
    Path('text.png').write_text('no picture')
    sentence = 'Give a picture and ten numbers, or a face of 66 x 66 pixels alone.\n'
    for arguments in (('photo.png',), ('photo.png', 1, 2), ('text.png',), ('none.png',)):
        done = run_example(*arguments)
        assert done.returncode == 1 and done.stderr.endswith(sentence) and not done.stdout
    done = run_example()
    assert done.returncode == 1 and 'python3 predict.py photo.jpg' in done.stderr
