"""Batch norm's averages over a pass of the training set, for the weights that a training ended
with."""
import re
import signal
from pathlib import Path

import caffe
import numpy as np
import places
import pytest
from caffe.proto import caffe_pb2

from tools import evaluate, train
from tools.core import batchnorm_averages, run_folder, snapshots

FOLDER = Path('runs/demo/s1r1/fold0_seed1')
ARGUMENTS = ['--batch', '4', '--iters', '4', '--base-lr', '0.05']


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a data set of 10 smooth random pairs, two classes."""
    places.build_smooth(tmp_path, 10, ['a', 'b'])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(places.ROOT))
    with places.signals_given_back():
        yield tmp_path


def blobs(path):
    model = caffe_pb2.NetParameter.FromString(path.read_bytes())
    return {(layer.name, layer.type): [np.array(blob.data)
                                       for blob in layer.blobs]
            for layer in model.layer
            if layer.blobs}


def test_they_are_the_means_that_caffe_has_with_a_fraction_of_1(place, monkeypatch, capsys):
    """With moving_average_fraction 1 Caffe itself adds every batch's statistics up, and counts
    them."""
    with monkeypatch.context() as without:
        without.setattr(train, 'finish', lambda *_: 0)
        train.main(ARGUMENTS)
    snapshot = snapshots.last_snapshot(FOLDER)
    before = blobs(snapshot.caffemodel)
    text = re.sub('(moving_average_fraction): .*', r'\1: 1', (FOLDER / 'net.prototxt').read_text())
    Path('sums.prototxt').write_text(text)
    net = caffe.Net('sums.prototxt', str(snapshot.caffemodel), caffe.TRAIN)
    normed = [name for name in net.params if net.layer_dict[name].type == 'BatchNorm']
    for name in normed:
        for blob in net.params[name]:
            blob.data[...] = 0
    for _ in range(3):  # 10 pairs are 3 batches of 4
        net.forward()
    assert train.main(ARGUMENTS) == 0
    after = blobs(snapshots.last_snapshot(FOLDER).caffemodel)
    assert after.keys() == before.keys() and len(normed) > 10
    for name, kind in after:
        for i, (ours, old) in enumerate(zip(after[name, kind], before[name, kind])):
            if kind != 'BatchNorm':
                np.testing.assert_array_equal(ours, old)
            elif i < 2:
                np.testing.assert_allclose(ours, net.params[name][i].data / 3, rtol=1e-4, atol=1e-6)
                assert np.abs(ours - old / before[name, kind][2]).max() > 1e-4
            else:
                assert net.params[name][i].data == 3 and ours == 1
    assert run_folder.read_settings(FOLDER)['averaged_at'] == 4
    stamp = snapshots.last_snapshot(FOLDER).caffemodel.stat().st_mtime_ns
    assert train.main(ARGUMENTS) == 0 and 'Already trained' in capsys.readouterr().out
    assert snapshots.last_snapshot(FOLDER).caffemodel.stat().st_mtime_ns == stamp


def test_behind_dropout_they_are_those_of_the_test(tmp_path):
    """Of numbers with mean 1 and variance 1, half of which dropout takes away, so that in training
    their variance is 3."""
    path = tmp_path / 'net.prototxt'
    path.write_text('''
        layer { name: "x" type: "DummyData" top: "x" dummy_data_param {
            shape { dim: 2000 dim: 3 } data_filler { type: "gaussian" mean: 1 std: 1 } } }
        layer { name: "dropout" type: "Dropout" bottom: "x" top: "dropped" }
        layer { name: "bn" type: "BatchNorm" bottom: "dropped" top: "y" }''')
    used = tmp_path / 'used.prototxt'
    used.write_text(batchnorm_averages.without_dropout(path))
    for text, variance in (path, 3), (used, 1):
        mean, found, _ = batchnorm_averages.measure(caffe.Net(str(text), caffe.TRAIN), 3)['bn']
        np.testing.assert_allclose(mean, 1, atol=0.1)
        np.testing.assert_allclose(found, variance, rtol=0.1)


def test_a_run_without_them_is_not_tested(place, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(train, 'finish', lambda *_: 0)
        train.main(ARGUMENTS)
    with pytest.raises(SystemExit, match='give its `make train` again'):
        evaluate.evaluate(FOLDER)
    # they also go on from there
    assert train.main([*ARGUMENTS[:2], '--iters', '8', *ARGUMENTS[4:]]) == 0
    assert evaluate.evaluate(FOLDER)['iterations'] == 8


def test_a_failure_is_one_sentence_and_can_be_tried_again(place, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(train, 'finish', lambda *_: 0)
        train.main(ARGUMENTS)
    lmdb, away = Path('data/demo/fold0/train_lmdb'), Path('away')
    snapshot = snapshots.last_snapshot(FOLDER)
    before = snapshot.caffemodel.read_bytes()
    run = run_folder.read_settings(FOLDER)
    lmdb.rename(away)
    with pytest.raises(SystemExit, match='train_lmdb is missing: run `make data` first'):
        train.finish(train.Task(FOLDER, run, None, []))
    with monkeypatch.context() as unchecked, pytest.raises(
            SystemExit, match="^Batch norm's averages could not be taken .*same command again"):
        unchecked.setattr(train.tested_run, 'check_data', lambda *_: None)  # gone a moment later
        train.finish(train.Task(FOLDER, run, None, []))
    assert snapshot.caffemodel.read_bytes() == before
    away.rename(lmdb)
    assert train.finish(train.Task(FOLDER, run, None, [signal.SIGINT])) == 130
    assert train.finish(train.Task(FOLDER, run, None, [])) == 0
    assert snapshot.caffemodel.read_bytes() != before
