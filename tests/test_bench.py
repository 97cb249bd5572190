"""The measurements: what is read from Caffe's logs, and each part whole, on a tiny set."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import caffe
import drawn
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from data_prep import pair_lmdb
from prototxt import net, parts
from tools.bench import gpu_check, measure, network_speed, predict_speed

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ['anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise']

# What `caffe time` prints of a data layer, a Python layer, two convolutions and the split of a blob
TIMES = '''\
I1122 06:01:18.958663  3127 caffe.cpp:366] Testing for 1 iterations.
I1122 06:01:20.355525  3127 caffe.cpp:397] Average time per layer: 
I1122 06:01:20.355527  3127 caffe.cpp:400]       data	forward: 0.5 ms.
I1122 06:01:20.355532  3127 caffe.cpp:403]       data	backward: 0 ms.
I1122 06:01:20.355536  3127 caffe.cpp:400]      query	forward: 18.25 ms.
I1122 06:01:20.355540  3127 caffe.cpp:403]      query	backward: 1e-03 ms.
I1122 06:01:20.355543  3127 caffe.cpp:400] query_query_0_split	forward: 0.75 ms.
I1122 06:01:20.355546  3127 caffe.cpp:403] query_query_0_split	backward: 2 ms.
I1122 06:01:20.355549  3127 caffe.cpp:400]  en1/conv1	forward: 100 ms.
I1122 06:01:20.355552  3127 caffe.cpp:403]  en1/conv1	backward: 200.5 ms.
I1122 06:01:20.355553  3127 caffe.cpp:400]  en2/conv1	forward: 1234.5 ms.
I1122 06:01:20.355554  3127 caffe.cpp:403]  en2/conv1	backward: 7 ms.
I1122 06:01:20.355700  3127 caffe.cpp:408] Average Forward pass: 1354 ms.
I1122 06:01:20.355702  3127 caffe.cpp:410] Average Backward pass: 209.501 ms.
I1122 06:01:20.355705  3127 caffe.cpp:412] Average Forward-Backward: 1563.501 ms.
I1122 06:01:20.355708  3127 caffe.cpp:414] Total Time: 1563.501 ms.
'''
NETWORK = '''
layer { name: "data" type: "Data" include { phase: TEST } }
layer { name: "data" type: "Data" include { phase: TRAIN } }
layer { name: "query" type: "Python" python_param { module: "layers.augment" layer: "Augment" } }
layer { name: "en1/conv1" type: "Convolution" }
layer { name: "en2/conv1" type: "Convolution" }
'''
TRAINING = '''\
I1122 06:20:01.5 1 solver.cpp:239] Iteration 0 (-2.1e-36 iter/s, 9.5s/1 iters), loss = 5.1
I1122 06:20:01.5 1 solver.cpp:258]     Train net output #0: loss_cls = 2.3 (* 1 = 2.3 loss)
I1122 06:20:01.5 1 sgd_solver.cpp:112] Iteration 0, lr = 0.001
I1122 06:20:03.5 1 solver.cpp:239] Iteration 1 (0.5 iter/s, 2s/1 iters), loss = 5.0
I1122 06:20:03.5 1 sgd_solver.cpp:112] Iteration 1, lr = 0.001
I1122 06:20:07.0 1 solver.cpp:239] Iteration 2 (0.2857 iter/s, 3.5s/1 iters), loss = 4.9
I1122 06:20:07.0 1 solver.cpp:347] Iteration 3, Testing net (#0)
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A checkout with fold 0 of a data set of noise, as cwd; the layers are this one's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    random = np.random.RandomState(0)
    fold = Path('data/demo/fold0')
    fold.mkdir(parents=True)
    (fold.parent / 'classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    for part, n in (('train', 6), ('test', 30)):
        crops = {f'{i}.png': random.randint(0, 256, (66, 66)).astype(np.uint8) for i in range(n)}
        rows = [{
            'subject': f'S{i:03}', 'sequence': '001', 'frame': '0', 'expression': CLASSES[i % 7],
            'path': f'{i}.png', 'reference': '0.png'
        } for i in range(n)]
        pair_lmdb.write_pairs(str(fold / part), rows, CLASSES, crops.get)
    return tmp_path


def test_the_times_of_layers_add_up_by_type():
    types = network_speed.types(text_format.Parse(NETWORK, caffe_pb2.NetParameter()))
    assert network_speed.by_type(TIMES.splitlines(), types) == pytest.approx({
        ('Data', 'forward'): 0.0005, ('Data', 'backward'): 0,
        ('Python Augment', 'forward'): 0.01825, ('Python Augment', 'backward'): 0.000001,
        ('Split', 'forward'): 0.00075, ('Split', 'backward'): 0.002,
        ('Convolution', 'forward'): 1.3345, ('Convolution', 'backward'): 0.2075})


def test_the_first_iteration_of_training_does_not_count():
    assert network_speed.steps(TRAINING.splitlines()) == [2, 3.5]


def test_lines_are_sums_and_shares():
    """A network whose parts were measured as 1, 2, 3 … of a second."""
    found = {}
    for variant in net.VARIANTS:
        found.update({(variant, kind, way): seconds for (kind, way), seconds in {
            ('Data', 'forward'): 1, ('Data', 'backward'): 0,
            ('Python Augment', 'forward'): 2, ('Python Augment', 'backward'): 1,
            ('Convolution', 'forward'): 4, ('Convolution', 'backward'): 8}.items()})
        found.update({(variant, 'solver', 'update'): 4, (variant, 'seconds', 'train'): 21,
                      (variant, 'memory', 'train'): 99, (variant, 'augment', 'forward alone'): 0.5})
    lines = {name: (value, unit) for name, value, unit in network_speed.lines(10, found)}
    assert lines['cnn: forward'] == (7, 's') and lines['cnn: backward'] == (9, 's')
    assert lines['cnn, batch 10: an iteration'] == (20, 's')
    assert lines['cnn: share of Data and Augment in an iteration'] == (100 * 4 / 20, '%')
    assert lines['s1r1: peak memory of caffe train, with a test'] == (99, 'MB')
    assert lines['s1r1, Convolution layers: backward'] == (8, 's')
    assert lines['s1r1: share of our Python layers in both'] == (100 * 3 / 16, '%')
    assert lines['pairs augmented a second, one core'] == (20, '/s')


def test_the_networks_are_measured(place, capfd):
    measured = network_speed.measure(batch=2, iterations=1, rounds=1, passes=1)
    lines = {name: value for name, value, _ in measured}
    assert 'network: 100%' in capfd.readouterr().err
    assert all(f'{variant}, batch 2: an iteration' in lines for variant in net.VARIANTS)
    assert all(value >= 0 for value in lines.values())
    # A GCNet has four encoders and decoders more than a CNN to go through
    assert lines['s1r1: forward'] > lines['cnn: forward'] > 0
    memory = [
        lines[f'{variant}: peak memory of caffe train, with a test'] for variant in ('cnn', 's1r1')
    ]
    assert 50 < memory[0] < memory[1]
    assert 1 < lines['s1r1: share of our Python layers in both'] < 80
    assert lines['pairs augmented a second, one core'] > 10


def test_a_set_that_is_not_built_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match='data/demo/fold0 is not built: run `make data` first'):
        network_speed.measure()


def test_why_caffe_stopped_is_told(place):
    solver = network_speed.write(place / 'cnn', 'cnn', 2, 1)
    shutil.rmtree('data/demo/fold0/train_lmdb')
    with pytest.raises(SystemExit, match=r'^`caffe time .*` stopped: .*No such file or directory'):
        network_speed.timed(solver, 1)


def test_augmentation_is_timed_alone(place, monkeypatch):
    """All passes are over the first four of six pairs, and each makes something else of them."""
    made, whole = [], network_speed.front

    def front(*arguments):
        made.append(whole(*arguments))
        return made[0]

    monkeypatch.setattr(network_speed, 'front', front)
    (seconds, ) = network_speed.augmented(network_speed.write(place / 's1r1', 's1r1', 4, 1),
                                          1).values()
    pairs, _ = made[0]
    assert 0 < seconds < 1 and list(pairs.layer_dict) == ['data', 'query']
    first = Path('data/demo/fold0/train.csv').read_text().splitlines()[1:5]
    assert pairs.blobs['label'].data.tolist() == [int(row.split(',')[4]) for row in first]
    drawn_before = pairs.blobs['query'].data.copy()
    pairs.forward(start='query')
    assert not np.array_equal(drawn_before, pairs.blobs['query'].data)


def test_prediction_is_measured(place):
    with pytest.raises(SystemExit, match='data/raw/demo holds no frames: run `make data`'):
        predict_speed.measure()
    for person in (1, 2, 3):
        drawn.write(Path(f'data/raw/demo/cohn-kanade-images/S00{person}/001/1.png'),
                    drawn.face(person)[0])
    lines = predict_speed.measure(many=2, rounds=1)
    assert 'recognised a second, 2 pictures' in lines[0][0]
    # Who also has to find the faces cannot be faster; both are within reason
    assert 0.1 < lines[0][1] < lines[1][1] < 10000


def test_parts_are_added_to_what_was_measured_before(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'bench.json'
    monkeypatch.setattr(measure, 'PARTS', dict(one=lambda: [('speed', 2.0, '/s')],
                                             other=lambda: [('time', 3.0, 's')]))
    for part in ('one', 'other'):
        monkeypatch.setattr(sys, 'argv', ['bench', part, '--out', str(out)])
        measure.main()
    assert {part: written['lines'] for part, written in json.loads(out.read_text()).items()} == {
        'one': [['speed', 2.0, '/s']], 'other': [['time', 3.0, 's']]}
    assert f'{"time":<66}{"3":>10} s' in capsys.readouterr().out
    out.write_text('{')
    with pytest.raises(SystemExit, match='bench.json is damaged: move it away'):
        measure.main()
    assert out.read_text() == '{'


def test_where_pytorch_is_missing_a_sentence_says_how_to_get_it(tmp_path):
    (tmp_path / 'torch.py').write_text('raise ImportError')
    done = subprocess.run([sys.executable, '-m', 'tools.bench.compare_torch'], cwd=ROOT,
                          stderr=subprocess.PIPE, env=dict(
                              os.environ, PYTHONPATH=f'{tmp_path}:.'), encoding='utf-8')
    assert done.returncode == 1
    assert done.stderr.startswith('PyTorch is not here') and done.stderr.count('\n') == 1


def test_what_the_network_in_pytorch_takes_of_ours_is_there():
    """Read, not run: PyTorch is in no environment of ours."""
    text = (ROOT / 'tools/bench/compare_torch.py').read_text()
    taken = set(re.findall(r'\b(net|parts)\.([A-Z]\w+)', text))
    assert ('parts', 'CODE') in taken
    assert not [name for name in taken if not hasattr({'net': net, 'parts': parts}[name[0]],
                                                      name[1])]


@pytest.mark.parametrize('variant', ['s1r1', 'cnn'])
def test_the_network_in_pytorch_computes_what_caffe_does(place, variant):
    pytest.importorskip(
        'torch', reason='PyTorch is not here (tools/bench/compare_torch.py says how to get it)')
    from tools.bench import compare_torch
    (_, weights, _), *differences = compare_torch.check_alike(variant)
    model = caffe.Net(str(deploy(place, variant)), caffe.TEST)
    assert weights == sum(
        blob.count
        for name, blobs in model.params.items()
        for blob in blobs
        if not name.startswith('en2_r/') and model.layer_dict[name].type != 'BatchNorm')
    assert differences[0][1] < 1e-3


def deploy(place, variant):
    path = place / 'deploy.prototxt'
    path.write_text(net.deploy(variant, 7))
    return path


def test_other_networks_are_not_compared(place, monkeypatch):
    pytest.importorskip(
        'torch', reason='PyTorch is not here (tools/bench/compare_torch.py says how to get it)')
    from tools.bench import compare_torch
    monkeypatch.setattr(compare_torch, 'euclidean', lambda a, b: (a - b).square().sum() /
                        (2.01 * len(a)))
    with pytest.raises(SystemExit, match='compute different things .*losses'):
        compare_torch.check_alike()


def test_both_train_in_turns(place):
    pytest.importorskip(
        'torch', reason='PyTorch is not here (tools/bench/compare_torch.py says how to get it)')
    from tools.bench import compare_torch
    lines = {
        name: value
        for name, value, _ in compare_torch.measure(batch=2, iterations=1, rounds=1)
    }
    assert len(lines) == 5 * len(compare_torch.SETTINGS)
    for engine in ('Caffe', 'PyTorch'):
        seconds = lines[f's1r1, batch 2, {engine}, 2 processes at once: an iteration']
        assert lines[f'{engine}, 2 processes at once: images trained a second'] == pytest.approx(
            4 / seconds)


def test_a_card_is_checked_against_the_cpu(place, monkeypatch):
    """The program itself, with the CPU in the card's place: nothing may differ."""
    monkeypatch.setattr(gpu_check, 'LAYERS', [ROOT / 'tests' / 'test_reverse.py'])
    gpu_check.main('--gpu none --iters 3 --compared 2 --batch 2 --variants cnn'.split())
    page = Path('runs/gpu_check.md').read_text()
    assert page.split('\n## ')[0] == '# Caffe on a GPU\n\nNo card: the CPU beside itself.\n'
    assert 'passed' in page and 'failed' not in page
    cells = next(line for line in page.splitlines() if line.startswith('| cnn')).split('|')
    _, first, last, iterations, apart = map(str.strip, cells[1:6])
    assert iterations == '4' and float(apart) == 0 and first != last
    assert '| Convolution' in page and 'PyTorch' in page


def test_a_card_that_computes_otherwise_is_told(place, monkeypatch):
    solver = network_speed.write(place / 'cnn', 'cnn', 2, 3)
    train = gpu_check.trained

    def on_card(solver, card):
        log = train(solver, None)
        return log if card is None else [line.replace(', loss = ', ', loss = 9') for line in log]
    monkeypatch.setattr(gpu_check, 'trained', on_card)
    lines = gpu_check.training({'cnn': solver}, 0, 2, 2).splitlines()
    apart = next(line for line in lines if line.startswith('| cnn')).split('|')[5]
    assert float(apart) > gpu_check.ALIKE


def test_nan_on_a_card_is_told(place, monkeypatch):
    solver, train = network_speed.write(place / 'cnn', 'cnn', 2, 3), gpu_check.trained

    def on_card(solver, card):
        log = train(solver, None)
        second = max(i for i, line in enumerate(log) if 'Iteration 1 ' in line)
        broken = re.sub('loss = .*', 'loss = nan', log[second])
        return log if card is None else [*log[:second], broken, *log[second + 1:]]
    monkeypatch.setattr(gpu_check, 'trained', on_card)
    lines = gpu_check.training({'cnn': solver}, 0, 2, 2).splitlines()
    assert next(line for line in lines if line.startswith('| cnn')).split('|')[5].strip() == 'nan'


def test_layers_whose_tests_are_aborted_have_not_passed(place, monkeypatch):
    Path('test_abort.py').write_text('import os\ndef test_it():\n    os.abort()\n')
    monkeypatch.setattr(gpu_check, 'LAYERS', ['test_abort.py'])
    text = gpu_check.gradients(None)
    assert '**Not all of them passed.**' in text and 'ended by signal 6' in text


def test_a_part_that_fails_is_told_and_the_others_are_measured(place, monkeypatch):
    monkeypatch.setattr(gpu_check, 'LAYERS', [ROOT / 'tests' / 'test_reverse.py'])
    (place / 'data/demo/fold0/train_lmdb/data.mdb').write_bytes(b'')
    gpu_check.main('--gpu none --iters 3 --compared 2 --batch 2 --variants cnn'.split())
    page = Path('runs/gpu_check.md').read_text()
    assert '**cnn: `caffe train' in page and 'passed' in page
