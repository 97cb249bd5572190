"""Model folders that one is given: whatever their network and weights say, no code of theirs runs,
no file is written, and Caffe aborts nowhere."""
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import places
import pytest
from caffe.proto import caffe_pb2
from test_predict import CLASSES, FOLDER, ROOT, SNAPSHOT, make_run

from prototxt import net
from tools.core import caffe_process, checked_net, network, predictor

DEPLOY = FOLDER / 'deploy.prototxt'
CASES = ROOT.parent / 'shared/cases/14-shared-model-folder'
SHIPPED = ROOT / predictor.SHIPPED
MUTANTS = int(os.environ.get('GCNET_MUTANTS', 12))  # 300 were tried
QUERY = 'layer { name: "query" type: "Input" top: "query" input_param { shape { dim: 1 dim: 1 ' \
        'dim: 64 dim: 64 } } }\n'
EVIL = "open('written', 'w').write('by code of the folder')\n"


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with a run of S1R1."""
    place = tmp_path_factory.mktemp('made')
    make_run(place / FOLDER, 's1r1')
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it as working directory."""
    return places.enter_copy(made, tmp_path, monkeypatch)


def refusal(folder=FOLDER):
    """The sentence that a folder is refused with; nothing is written for it."""
    before = contents(Path())
    with pytest.raises(SystemExit) as error:
        predictor.Predictor(folder)
    sentence = str(error.value)
    assert sentence.endswith('.') and sentence.isprintable() and str(folder) in sentence
    assert contents(Path()) == before
    return sentence


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


def never(*arguments):
    raise AssertionError('a process was started for a network of our own')


# ---------------------------------------------------------------- what is taken


@pytest.mark.parametrize('variant', net.VARIANTS + net.PRETRAINING)
def test_a_net_of_ours_needs_no_trial(tmp_path, monkeypatch, variant):
    monkeypatch.setattr(caffe_process, 'blob_shapes', never)
    make_run(tmp_path, variant)
    assert checked_net.read_network(tmp_path, 64)
    settings = dict(decoder='switches', generator='change', codes='raw', gamma=0.04,
                    pixel_scale='relative', balance=1)
    ours = {name: value for name, value in settings.items() if name in net.SETTINGS}
    (tmp_path / 'deploy.prototxt').write_text(net.deploy(variant, len(CLASSES), **ours))
    run = json.loads((tmp_path / 'run.json').read_text())
    (tmp_path / 'run.json').write_text(json.dumps({**run, 'settings': settings}))
    assert checked_net.read_network(tmp_path, 64)


def test_the_shipped_net_needs_no_trial(monkeypatch):
    monkeypatch.setattr(caffe_process, 'blob_shapes', never)
    assert checked_net.read_network(SHIPPED, 64).startswith('name: "gcnet_s1r1"')


def test_another_net_of_harmless_layers_is_tried_and_taken(place):
    """An older or changed net.py's, say: it gives what it describes."""
    face = np.random.RandomState(0).rand(2, 1, 64, 64).astype(np.float32)
    expected = network.run(network.load(FOLDER)[0], face)['prob']
    text = DEPLOY.read_text().replace('type: "Softmax"', 'type: "Sigmoid"')
    DEPLOY.write_text(text)
    found = network.run(network.load(FOLDER)[0], face)['prob']
    odds = found / (1 - found)  # a sigmoid's odds are the softmax's numerators
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), expected, rtol=1e-3)


# ---------------------------------------------------------------- code and files


@pytest.mark.skipif(not CASES.exists(), reason='no folders in ../shared/cases')
@pytest.mark.parametrize('case, sentence', [
    ('python_layer', "would run 'Unpool' of the Python module 'evilmodel.evil', which is not"),
    ('hdf5_layer', "is of type 'HDF5Output', which is not taken")])
def test_the_folders_that_were_shared(place, case, sentence):
    shutil.copytree(CASES / case, 'evilmodel')
    shutil.copytree(FOLDER / 'snapshots', 'evilmodel/snapshots')
    if case == 'hdf5_layer':
        shutil.copy(CASES / 'python_layer/run.json', 'evilmodel')
    assert sentence in refusal('evilmodel')


@pytest.mark.parametrize('kind, parameters', [
    ('HDF5Output', 'hdf5_output_param { file_name: "written" }'),
    ('HDF5Data', 'hdf5_data_param { source: "/etc/passwd" batch_size: 1 }'),
    ('Data', 'data_param { source: "written" batch_size: 1 backend: LMDB }'),
    ('ImageData', 'image_data_param { source: "/etc/passwd" batch_size: 1 }'),
    ('WindowData', 'window_data_param { source: "/etc/passwd" batch_size: 1 }'),
    ('MemoryData', 'memory_data_param { batch_size: 1 channels: 1 height: 9 width: 9 }'),
    ('DummyData', 'dummy_data_param { shape { dim: 9000000000000 } }'),
    ('InfogainLoss', 'infogain_loss_param { source: "/etc/passwd" }'),
    ('LSTM', 'recurrent_param { num_output: 9 }'),
    ('Parameter', 'parameter_param { shape { dim: 9000000000000 } }'),
    ('NoSuchLayer', ''),
    ('\x1b[2J', '')])
def test_layer_types_that_are_not_taken(place, kind, parameters):
    layer = f'layer {{ name: "x" type: "{kind}" bottom: "query" top: "x" {parameters} }}\n'
    DEPLOY.write_text(DEPLOY.read_text() + layer)
    assert f'of type {kind!r}, which is not taken' in refusal()


@pytest.mark.parametrize('module, layer', [
    ('evil', 'Evil'), ('os', 'abort'), ('layers.evil', 'Evil'), ('layers', 'evil'),
    ('layers..evil', 'Evil'), ('layers.unpool.evil', 'Evil'), ('layers/evil', 'Evil'),
    ('runs.demo.evil', 'Evil'), ('tools.train', 'main'), ('layers.params', 'read'),
    ('layers.params', 'json'), ('layers.unpool', 'caffe'), ('layers.unpool', 'NoSuch'), ('', '')])
def test_python_layers_that_are_not_ours(place, monkeypatch, module, layer):
    """The working directory is the folder that was given, and on the module path."""
    for name in ('evil.py', 'layers/evil.py', 'layers/unpool.py', 'layers/__init__.py',
                 'runs/demo/evil.py'):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(EVIL)
    monkeypatch.syspath_prepend(str(place))
    ours, theirs = ('module: "{}"\n    layer: "{}"'.format(*each)
                    for each in (('layers.unpool', 'Unpool'), (module, layer)))
    DEPLOY.write_text(DEPLOY.read_text().replace(ours, theirs))
    assert f'would run {layer!r} of the Python module {module!r}' in refusal()


@pytest.mark.parametrize('changed', [False, True])
def test_the_layers_are_ours_whatever_lies_in_the_working_directory(place, changed):
    (place / 'layers').mkdir()
    for name in ('__init__', 'unpool', 'normalize', 'distance', 'params'):
        (place / f'layers/{name}.py').write_text(EVIL)
    if changed:  # so that a process tries it
        DEPLOY.write_text(DEPLOY.read_text().replace('dropout_ratio: 0.5', 'dropout_ratio: 0.4'))
    program = ('from tools.predictor import Predictor\n'
               f'print(len(Predictor("{FOLDER}").net.blobs))')
    done = subprocess.run([sys.executable, '-c', program], encoding='utf-8', capture_output=True,
                          env={**os.environ, 'PYTHONPATH': f'.:{ROOT}', 'GLOG_minloglevel': '2'})
    assert (done.returncode, places.own_words(done.stderr)) == (0, '') and int(done.stdout) > 50
    assert not Path('written').exists()


# ---------------------------------------------------------------- what Caffe would abort on

@pytest.mark.parametrize('variant, settings, classes', [
    ('s1r1', dict(generator='vae', latent=20_001), 7), ('s1r1', {}, 20_001),
    ('disentangled', dict(expression_latent=20_001), 7)])
def test_so_large_a_network_of_ours_is_tried_first(place, variant, settings, classes):
    run = dict(variant=variant, classes=['x'] * classes, settings=settings)
    (FOLDER / 'run.json').write_text(json.dumps(run))
    assert checked_net.rebuild(FOLDER) is None
    run.update(classes=['x'] * 7, settings={**settings, 'latent': 64, 'expression_latent': 16})
    (FOLDER / 'run.json').write_text(json.dumps(run))
    assert checked_net.rebuild(FOLDER).layer


@pytest.mark.parametrize('latent', [0, -1, 2.5, True, '64'])
def test_a_latent_code_of_no_numbers_is_none_of_ours(place, latent):
    run = dict(variant='s1r1', classes=['x'] * 7, settings=dict(generator='vae', latent=latent))
    (FOLDER / 'run.json').write_text(json.dumps(run))
    assert checked_net.rebuild(FOLDER) is None
    for name in 'latent', 'expression_latent':
        with pytest.raises(ValueError, match=f'^{name} must be a whole number above 0'):
            net.deploy('s1r1', 7, generator='vae', **{name: latent})


@pytest.mark.parametrize('change, sentence', [
    (lambda text: text.replace('dim: 64', 'dim: 2000000000'), 'Caffe cannot make this network: '),
    (lambda text: text.replace('dim: 64', 'dim: 20000'), 'Caffe cannot make this network: '),
    (lambda text: text.replace('dim: 64', 'dim: -64'), 'Caffe cannot make this network: '),
    (lambda text: text.replace('num_output: 384', 'num_output: 200000000'), 'Caffe cannot make'),
    (lambda text: text.replace('kernel_size: 3', 'kernel_size: 99'), 'Caffe cannot make'),
    (lambda text: text.replace('kernel_size: 3', 'kernel_size: 0'), 'Caffe cannot make'),
    (lambda text: text.replace('bottom: "query"', 'bottom: "none"'), 'Unknown bottom blob'),
    (lambda text: text.replace('stride\\": 2', 'stride\\": 0.5'), 'stride cannot be 0.5'),
    (lambda text: text.replace('stride\\": 2', 'stride\\": 100000'), 'Caffe cannot make'),
    (lambda text: text.replace('{}', '{\\"x\\": 1}'), "unknown name 'x'"),
    (lambda text: text.replace('"{}"', '"' + '[' * 100000 + '"'), 'Caffe cannot make'),
    (lambda text: text.replace('top: "query"', 'top: "other"', 1), 'Caffe cannot make'),
    (lambda text: text + 'layer { name: "query2" type: "Input" top: "query2" input_param { shape '
                         '{ dim: 1 } } }', 'takes no `query` of 1 x 64 x 64'),
    (lambda text: text.replace('type: "Softmax"', 'type: "Softmax" softmax_param { axis: 7 }'),
     'Caffe cannot make'),
    (lambda text: text.replace('type: "Softmax"', 'type: "Silence"'), 'Caffe cannot make'),
    (lambda text: text.replace('type: "Softmax"', 'type: "Reduction"'), 'has no outputs `prob`'),
    (lambda text: text.replace('top: "prob"', 'top: "other"'), 'no outputs `prob`'),
    (lambda text: text + 'layer { name: "sum" type: "Reduction" bottom: "generated" top: "sum" }',
     'gives `sum` in the shape () for two faces'),
    (lambda text: text.replace('"generated"', '"g"') + 'layer { name: "flat" type: "Flatten" '
                  'bottom: "g" top: "generated" }', 'gives `generated` in the shape (2, 4096) for'),
    (lambda text: text + 'layer { name: "flat" type: "Flatten" bottom: "generated" top: '
                         '"flat" flatten_param { axis: 0 } }', 'gives `flat` in the shape (8192,)'),
    (lambda text: 'a{' * 100000, 'damaged or no network of Caffe ('),
    (lambda text: 'layer {' * 100000, 'damaged or no network of Caffe ('),
    (lambda text: text + ' ' * 10 ** 6, 'it has more than 1,000,000 bytes'),
    (lambda text: text + 'debug_info: true', 'has `debug_info` outside of its layers'),
    (lambda text: text + 'layers { type: HDF5_OUTPUT }', 'has `layers` outside of its layers'),
    (lambda text: text + 'input: "data" input_dim: 1', 'outside of its layers'),
    (lambda text: text.replace('name: "de1_r/relu2"', 'name: "en2/scale1"'),
     "has two layers of the name 'en2/scale1'"),
    (lambda text: text.replace('type: "Softmax"', 'type: "Softmax" include { phase: TEST }'),
     'has `include` or `exclude`, which is not taken'),
    (lambda text: '', ''),
    (lambda text: QUERY, 'no layer with weights is in both'),
])
def test_networks_that_do_not_work(place, capfd, change, sentence):
    DEPLOY.write_text(change(DEPLOY.read_text()))
    assert sentence in refusal()
    assert 'Traceback' not in capfd.readouterr().err


@pytest.mark.parametrize('damage, sentence', [
    (lambda: DEPLOY.write_bytes(b'name: "\xff\xfe"\n' + DEPLOY.read_bytes()),
     'deploy.prototxt is damaged or no network of Caffe (it is not UTF-8: byte 7)'),
    (lambda: [DEPLOY.unlink(), os.mkfifo(DEPLOY)], 'deploy.prototxt is missing, or no file'),
    (lambda: [DEPLOY.unlink(), DEPLOY.symlink_to('/dev/zero')], 'is missing, or no file'),
    (lambda: [SNAPSHOT.unlink(), SNAPSHOT.symlink_to('/dev/zero')], 'is no file'),
    (lambda: [SNAPSHOT.unlink(), SNAPSHOT.mkdir()], 'is no file'),
    (lambda: [rewrite(averaged_at=5, sha256='0' * 64), SNAPSHOT.unlink(),
              SNAPSHOT.symlink_to('/dev/zero')], 'is no file'),
    (lambda: link('run.json', '/dev/zero'), 'run.json cannot be read (it is no file)'),
    (lambda: [(FOLDER / 'run.json').unlink(), os.mkfifo(FOLDER / 'run.json')], 'it is no file'),
    (lambda: rewrite(more='x' * 10 ** 7), 'run.json cannot be read (it has more than 10,000,000'),
    (lambda: (FOLDER / 'run.json').write_text('[' * 100000), 'run.json cannot be read ('),
    (lambda: rewrite(classes=['a\x1b[2J', 'b', 'c']), 'not printable or longer than 100'),
    (lambda: rewrite(classes=['a' * 101, 'b', 'c']), 'not printable or longer than 100'),
    (lambda: rewrite(classes=['a', 'b', 'a']), 'not printable or longer than 100'),
    (lambda: rewrite(iterations='\x1b[2J'), 'has no whole number `iterations`'),
    (lambda: rewrite(variant=['s1r1']), 'has no text `variant`'),
])
def test_folders_that_are_not_what_they_should_be(place, damage, sentence):
    damage()
    assert sentence in refusal()


def link(name, target):
    (FOLDER / name).unlink()
    (FOLDER / name).symlink_to(target)


def rewrite(**changes):
    path = FOLDER / 'run.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# ---------------------------------------------------------------- mutants


def mutate_text(text, chance):
    """A prototxt with one to three changes: lines that go, come twice or change places, other
    numbers, other words, cut off."""
    lines = text.splitlines()
    for _ in range(chance.randint(1, 3)):
        i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
        kind = chance.randrange(6)
        if kind == 0:
            del lines[i]
        elif kind == 1:
            lines.insert(i, lines[i])
        elif kind == 2:
            lines[i], lines[j] = lines[j], lines[i]
        elif kind == 3:
            numbers = [k for k, line in enumerate(lines) if re.search(r': \d', line)]
            k = chance.choice(numbers)
            other = chance.choice(['0', '-1', '7', '1000', '2147483648', '1e30', 'nan'])
            lines[k] = re.sub(r': \S+', f': {other}', lines[k])
        elif kind == 4:
            words = [k for k, line in enumerate(lines) if '"' in line]
            k, other = chance.choice(words), lines[chance.choice(words)]
            word = re.search(r'"(.*)"', other)
            lines[k] = re.sub(r'"(.*)"', lambda _, word=word: word.group(), lines[k])
        elif chance.random() < 0.2:
            lines = lines[:i + 1]
    return '\n'.join(lines)


def mutate_bytes(data, chance):
    """A caffemodel with changed bytes, most of them where layers begin, or cut off."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        i = chance.choice([chance.randrange(len(data)), chance.randrange(4000)])
        data[i] = chance.randrange(256)
    return bytes(data[:chance.randrange(len(data))] if chance.random() < 0.2 else data)


def load_mutants(first, last):
    """Loads mutants by their seeds, in a process that a signal would end; prints what came of
    each."""
    text, weights = DEPLOY.read_text(), SNAPSHOT.read_bytes()
    for seed in range(first, last):
        chance = random.Random(seed)
        DEPLOY.write_text(mutate_text(text, chance) if seed % 2 else text)
        SNAPSHOT.write_bytes(weights if seed % 2 else mutate_bytes(weights, chance))
        try:
            model = predictor.Predictor(FOLDER)
            model.recognise([[(np.zeros((5, 2)), np.zeros((66, 66), np.uint8))] * 3])
            print(seed, 'taken')
        except SystemExit as error:
            print(seed, ascii(str(error)))
        sys.stdout.flush()


def test_mutants_end_in_a_sentence_or_a_result(place):
    before = {path for path in Path().rglob('*')}
    program = f'import test_checked_net; test_checked_net.load_mutants(0, {MUTANTS})'
    done = subprocess.run([sys.executable, '-c', program], encoding='utf-8', capture_output=True,
                          env={**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT}/tests',
                               'GLOG_minloglevel': '2'})
    lines = done.stdout.splitlines()
    # Protocol Buffers says by itself which bytes are no text; `make predict` keeps that to itself.
    others = [line for line in places.own_words(done.stderr).splitlines()
              if not line.startswith('[libprotobuf')]
    assert (done.returncode, others, len(lines)) == (0, [], MUTANTS)
    assert all(re.fullmatch(r'\d+ (taken|[\'"].*\.[\'"])', line) for line in lines)
    assert {path for path in Path().rglob('*')} == before
    assert len({line.split(' ', 1)[1] for line in lines}) > 3


def test_weights_of_the_old_form_in_a_caffemodel_reach_no_layer(place):
    """What Caffe itself would abort on, past a shape that fits."""
    expected = network.load(FOLDER)[0].params['fc1_delta'][0].data.copy()
    for change in (lambda blob: setattr(blob, 'num', 7),
                   lambda blob: blob.double_data.extend([1.0, 2.0]),
                   lambda blob: blob.diff.extend([1.0, 2.0])):
        model = caffe_pb2.NetParameter.FromString(SNAPSHOT.read_bytes())
        layer, = [layer for layer in model.layer if layer.name == 'fc1_delta']
        change(layer.blobs[0])
        model.layers.add(name='old', type=9)
        SNAPSHOT.write_bytes(model.SerializeToString())
        found = network.load(FOLDER)[0].params['fc1_delta'][0].data
        assert np.array_equal(found, expected)
    del layer.blobs[0].data[5:]
    SNAPSHOT.write_bytes(model.SerializeToString())
    assert 'layer fc1_delta has too few or too many numbers' in refusal()
