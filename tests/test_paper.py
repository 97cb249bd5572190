"""The paper's experiment from its people to its tests, with two iterations of each network."""
import json
from pathlib import Path

import numpy as np
import places
import pytest
from caffe.proto import caffe_pb2

from prototxt import net
from tools import balance_of_losses, paper
from tools.core import gpu, request


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with drawn noise as `demo`, fold 0, and as the people of `webface`."""
    place = tmp_path_factory.mktemp('paper')
    places.build_smooth(place, 8, ['a', 'b'])
    (place / 'data/demo').rename(place / 'data/webface')
    places.build_smooth(place, 8, ['a', 'b'])
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(places.ROOT))
    with places.signals_given_back():
        yield places.enter_copy(made, tmp_path, monkeypatch)


def weights(path):
    model = caffe_pb2.NetParameter.FromString(Path(path).read_bytes())
    return {layer.name: np.array(layer.blobs[0].data) for layer in model.layer if layer.blobs}


def test_people_then_every_network_from_their_encoders(place, monkeypatch, capsys):
    monkeypatch.setattr(paper, 'COMPARED', ('cnn', 's1r1'))
    monkeypatch.setattr(net, 'GCNETS', {'s1r1': net.GCNETS['s1r1']})
    monkeypatch.setattr(paper, 'seconds_of', lambda variant, dataset, settings: 36.0)
    # The rest as it is, and fewer images for the test's sake.
    settings = paper.SETTINGS
    monkeypatch.setattr(paper, 'SETTINGS', [*settings, '--batch', '8'])
    assert paper.main(['--dataset', 'demo', '--iters', '2', '--jobs', '1']) == 0

    said = capsys.readouterr().out
    assert 'trained for 2 iterations of 64 (the paper: 300000)' in said
    assert 's1r1           1 x  36.00 s an iteration       0.0 hours' in said
    started = {name: weights(f'runs/webface/pretrained/{name}.caffemodel')
               for name in ('generator', 'identity')}
    assert {layer.split('/')[0] for layer in started['generator']} == {'en1'}
    assert {layer.split('/')[0] for layer in started['identity']} == {'en2'}

    runs = {variant: json.loads(Path(f'runs/demo/{variant}/fold0_seed1/run.json').read_text())
            for variant in ('cnn', 's1r1')}
    for run in runs.values():
        assert Path('runs/demo', run['variant'], 'fold0_seed1/result.json').is_file()
        assert (run['iterations'], run['base_lr']) == (2, 0.001)
        assert {name: run['settings'][name] for name in paper.ASKED} == paper.ASKED
        assert 'balance' not in run['settings']
    _, asked, _ = request.read_request(['--dataset', 'demo', *settings])
    assert (asked['iterations'], asked['batch']) == (300000, 64)
    assert [Path(path).stem for path in runs['cnn']['weights']] == ['identity']
    assert [Path(path).stem for path in runs['s1r1']['weights']] == ['generator', 'identity']

    # The margin is S where the training begins, measured again by hand.
    network = balance_of_losses.load_net(
        'runs/demo/s1r1/fold0_seed1/net.prototxt', runs['s1r1']['weights'])
    gaps = []
    for _ in range(paper.BATCHES):
        network.forward()
        gaps.extend(network.blobs['code'].data - network.blobs['code_r'].data)
    distance = np.mean([np.sqrt((gap ** 2).sum()) for gap in gaps])
    assert runs['s1r1']['settings']['margin'] == pytest.approx(distance, rel=0.1)


def test_time_is_of_real_iterations(place):
    assert 0 < paper.seconds_of('cnn', 'demo', paper.SETTINGS) < 600


def test_the_first_of_the_gpus_is_timed_and_pre_trains(place, monkeypatch):
    given = []
    monkeypatch.setattr(gpu, 'which', int)
    monkeypatch.setattr(paper, 'seconds_of', lambda *words: given.append(words[-1]) or 36.0)
    monkeypatch.setattr(paper, 'pretrain', lambda iterations, settings: given.append(settings) or 1)
    assert paper.main(['--dataset', 'demo', '--gpus', '1 0']) == 1
    assert len(given) == 8
    assert all(words == [*paper.SETTINGS, '--gpu', '1'] for words in given)


def test_a_gpu_that_is_none_is_said_before_anything_is_timed(place, monkeypatch):
    monkeypatch.setattr(paper, 'seconds_of', None)
    with pytest.raises(SystemExit, match="GPUS must be a whole number .* not 'none'"):
        paper.main(['--dataset', 'demo', '--gpus', 'none'])


def test_runs_of_another_experiment_are_refused(place):
    folder = Path('runs/demo/cnn/fold0_seed1')
    folder.mkdir(parents=True)
    run = dict(dataset='demo', variant='cnn', fold=0, seed=1, iterations=420, classes=['a', 'b'],
               settings={'balance': 1})
    (folder / 'run.json').write_text(json.dumps(run))
    with pytest.raises(SystemExit, match='fold0_seed1 is of another experiment: move runs/demo'):
        paper.main(['--dataset', 'demo', '--iters', '2'])
    with pytest.raises(SystemExit, match="ITERS must be a whole number .* not 'x'"):
        paper.main(['--dataset', 'demo', '--iters', 'x'])
