"""A run that is copied out for use elsewhere, and the model that comes with the project."""
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import caffe
import drawn
import numpy as np
import places
import pytest
from caffe.proto import caffe_pb2
from test_predict import FOLDER, ROOT, make_run

from tools import export, predict
from tools.core import network, predictor

OUT = Path('model')
DAMAGED = f'{FOLDER}/result.json is damaged ('
FILES = ['deploy.prototxt', 'model.json', 'model.onnx', 'predict.py', 'result.json', 'run.json',
         'snapshots/s1r1_iter_5.caffemodel']
SHIPPED = ROOT / predictor.SHIPPED
WILD = ROOT.parent / 'shared/data/wild/images/p0000_000.jpg'
shipped = pytest.mark.skipif(not (SHIPPED / 'run.json').exists(),
                             reason=f'no model in {predictor.SHIPPED}')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with a tested run of S1R1; its caffemodel has layers of training alone, as real ones
    do."""
    place = tmp_path_factory.mktemp('made')
    make_run(place / FOLDER, 's1r1')
    run = json.loads((place / FOLDER / 'run.json').read_text())
    run.update(command='python3 -m tools.train --weights /home/me/a.caffemodel,b/c.caffemodel',
               weights=['/home/me/a.caffemodel', 'b/c.caffemodel'], counts=[3, 4, 5],
               code='4ab7677', versions={'caffe': '1.0.0'}, settings={'gamma': 0.02})
    (place / FOLDER / 'run.json').write_text(json.dumps(run))
    (place / FOLDER / 'result.json').write_text(json.dumps(dict(iterations=5, accuracy=0.5)))
    (place / FOLDER / 'log.txt').write_text('long')
    path = place / FOLDER / 'snapshots/s1r1_iter_5.caffemodel'
    model = caffe_pb2.NetParameter.FromString(path.read_bytes())
    data = model.layer.add(name='data', type='Data')
    data.data_param.source = '/home/me/data/train_lmdb'
    model.layer.add(name='only_in_training', blobs=[caffe.io.array_to_blobproto(np.ones((9, 9)))])
    path.write_bytes(model.SerializeToString())
    shutil.copy(path, path.with_name('s1r1_iter_4.caffemodel'))
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it as working directory."""
    return places.enter_copy(made, tmp_path, monkeypatch)


def start(monkeypatch, module, *arguments):
    """What a program's main() gives, or the sentence it ends with."""
    monkeypatch.setattr(sys, 'argv', ['x', *map(str, arguments)])
    try:
        return module.main()
    except SystemExit as error:
        return error.code


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


# ---------------------------------------------------------------- what is copied


def test_an_exported_run_gives_the_runs_numbers(place, monkeypatch, capsys):
    before = contents(place)
    assert start(monkeypatch, export, '--run', FOLDER, '--out', 'some/model') is None
    out = Path('some/model')
    assert sorted(contents(out)) == FILES and os.listdir('some') == ['model']
    size = sum(map(len, contents(out).values())) / 1e6
    said = f'Exported: some/model, {size:.1f} MB, for `make predict RUN=some/model`.\n'
    assert capsys.readouterr().out == said
    queries = np.random.RandomState(0).rand(3, 1, 64, 64).astype(np.float32)
    (net, iteration), (copy, same) = network.load(FOLDER), network.load(out)
    expected, found = network.run(net, queries), network.run(copy, queries)
    assert iteration == same == 5 and sorted(expected) == sorted(found)
    for name in ('prob', 'generated', 'reconstructed_r', 'reconstructed_i'):
        assert np.array_equal(expected[name], found[name])
    assert np.ptp(expected['prob'], axis=0).max() > 1e-3  # the net does look at its input
    shutil.rmtree('some')
    assert contents(place) == before


def test_nothing_of_training_or_of_this_machine_goes_along(place):
    export.export(FOLDER, OUT)
    for name, data in contents(OUT).items():
        assert b'/home/me' not in data and b'only_in_training' not in data, name
    weights = sum(
        blob.data.size for blobs in network.load(OUT)[0].params.values() for blob in blobs)
    assert (OUT / FILES[-1]).stat().st_size == pytest.approx(4 * weights, rel=1e-3)
    was, run = (json.loads((folder / 'run.json').read_text()) for folder in (FOLDER, OUT))
    assert run == {**{name: was[name] for name in was if name != 'command'},
                   'weights': ['a.caffemodel', 'c.caffemodel']}
    for name in ('deploy.prototxt', 'result.json'):
        assert (OUT / name).read_bytes() == (FOLDER / name).read_bytes()


def test_a_flipped_bit_in_the_weights_of_an_export_is_found(place):
    """Of a run that keeps the checksum of its weights; the export has its own."""
    path = FOLDER / 'snapshots/s1r1_iter_5.caffemodel'
    rewrite('run.json', averaged_at=5, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    export.export(FOLDER, OUT)
    network.load(OUT)
    for folder in FOLDER, OUT:
        path = folder / 'snapshots/s1r1_iter_5.caffemodel'
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1  # in a weight: all can still be read
        path.write_bytes(content)
        with pytest.raises(SystemExit, match='is not as it was written, by its checksum'):
            network.load(folder)


def test_an_export_can_be_exported(place):
    export.export(FOLDER, OUT)
    export.export(OUT, Path('again'))
    assert contents(Path('again')) == contents(OUT)


# ---------------------------------------------------------------- what is refused


def rewrite(name, **changes):
    path = FOLDER / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize('change, sentence', [
    (lambda: OUT.mkdir(), 'model is there already: choose another OUT.'),
    (lambda: OUT.symlink_to('nowhere'), 'model is there already: choose another OUT.'),
    (lambda: shutil.rmtree(FOLDER), f'{FOLDER} is no run folder'),
    (lambda: (FOLDER / 'result.json').unlink(), f'{FOLDER} is not tested: '),
    (lambda: (FOLDER / 'result.json').write_text('{'), DAMAGED),
    (lambda: (FOLDER / 'result.json').write_text('[]'), DAMAGED),
    (lambda: (FOLDER / 'result.json').write_text('[' * 100000), DAMAGED),
    (lambda: (FOLDER / 'result.json').write_bytes(b'\xff{}'), DAMAGED),
    (lambda: rewrite('result.json', iterations='5\n'), DAMAGED),
    (lambda: rewrite('result.json', iterations=[5]), DAMAGED),
    (lambda: rewrite('run.json', weights=None), f'{FOLDER}/run.json has no list of weights'),
    (lambda: rewrite('run.json', weights=[3]), f'{FOLDER}/run.json has no list of weights'),
    (lambda: rewrite('run.json', iterations=6), f'{FOLDER} is at iteration 5 of 6, tested at 5: '),
    (lambda: rewrite('result.json', iterations=4),
     f'{FOLDER} is at iteration 5 of 5, tested at 4: '),
    (lambda: (FOLDER / FILES[-1]).unlink(), f'{FOLDER} is at iteration 4 of 5, tested at 5: '),
    (lambda: rewrite('run.json', variant='identity'), f'{FOLDER} tells no expressions'),
    (lambda: shutil.rmtree(FOLDER / 'snapshots'), f'{FOLDER} has no snapshot'),
])
def test_refusals(place, monkeypatch, capfd, change, sentence):
    change()
    before = sorted(place.rglob('*'))
    found = start(monkeypatch, export, '--run', FOLDER, '--out', OUT)
    assert found.startswith(sentence) and found.endswith('.') and '\n' not in found
    assert sorted(place.rglob('*')) == before and capfd.readouterr().out == ''


@pytest.mark.parametrize('arguments, sentence', [
    ((), 'Name a run and a folder to be made: '),
    (('--run', FOLDER), 'Name a run and a folder to be made: '),
    (('--out', OUT), 'Name a run and a folder to be made: '),
    (('--run', FOLDER, '--out', '../model'), '../model is not in the checkout: '),
    (('--run', FOLDER, '--out', '/proc/model'), '/proc/model is not in the checkout: '),
    (('--run', FOLDER, '--out', 'away/model'), 'away/model is not in the checkout: '),
    (('--run', FOLDER, '--out', 'file/model'), 'file/model cannot be written ('),
])
def test_arguments(place, monkeypatch, arguments, sentence):
    Path('away').symlink_to(place.parent)
    Path('file').touch()
    before = sorted(place.parent.rglob('*'))
    found = start(monkeypatch, export, *arguments)
    assert found.startswith(sentence) and found.endswith('.') and '\n' not in found
    assert sorted(place.parent.rglob('*')) == before


def test_an_export_that_breaks_off_leaves_nothing_and_goes_again(place, monkeypatch):
    def full(*arguments):
        # never seen under its name
        assert sorted(map(str, Path().glob('*model*'))) == ['.model.partial']
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(shutil, 'copyfile', full)
    with pytest.raises(SystemExit, match='^model cannot be written .*No space left.*: make room'):
        export.export(FOLDER, OUT)
    assert not list(Path().glob('*model*'))
    monkeypatch.undo()
    monkeypatch.chdir(place)
    Path('.model.partial').mkdir()  # as a kill leaves it
    (Path('.model.partial') / 'old').touch()
    export.export(FOLDER, OUT)
    assert sorted(contents(OUT)) == FILES and not Path('.model.partial').exists()


# ---------------------------------------------------------------- the model that comes with the
# project


@shipped
def test_the_shipped_model_is_whole(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert sum(map(len, contents(SHIPPED).values())) < 20e6
    assert not list(SHIPPED.rglob('*.solverstate')) and len(list(
        SHIPPED.rglob('*.caffemodel'))) == 1
    run = json.loads((SHIPPED / 'run.json').read_text())
    assert run['crop'] == network.ALIGNMENT and 'command' not in run  # as `make export` writes it
    model = predictor.Predictor(predictor.SHIPPED)
    result = json.loads((SHIPPED / 'result.json').read_text())
    assert model.iteration == model.iterations == result['iterations'] and model.classes == result[
        'classes']
    for person in (1, 2):
        face, = model(drawn.face(person)[0])
        probabilities = list(face.probabilities.values())
        assert list(face.probabilities) == model.classes and np.isfinite(probabilities).all()
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert np.isfinite(face.reference).all()


@shipped
@pytest.mark.skipif(not WILD.exists(), reason='no photographs in ../shared/data/wild')
def test_a_photograph_where_nothing_was_trained(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path('prototxt').symlink_to(ROOT / 'prototxt')
    assert start(monkeypatch, predict, WILD, '--workers', '1') == 0
    out, err = capfd.readouterr()
    assert re.match(r'Model: prototxt/trained, iteration \d+, which comes with the project ', err)
    assert out.splitlines()[0].startswith(f'{WILD}, face 1: ')
    assert out.splitlines()[-1] == 'drawn: predictions/p0000_000.png'
    assert Path('predictions/p0000_000.png').is_file()
