"""The forms in C++ that compiled builds have of our Python layers (docker/patches): equal to the
Python layers, which are the definition; and the kernels that a GPU runs in their place. In the
packaged Caffe both sides are Python's."""
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import places
import pytest
import test_layers
from caffe import layers as L

from layers import repeat
from tools import bundle

BUILD = bundle.caffe_build()
COMPILED = BUILD.endswith(('+native', '+cuda'))
KERNELS = Path('/opt/gcnet-caffe/kernels_on_cpu.so')

UNPOOL, REPEAT = ('unpool', 'Unpool'), ('repeat', 'Repeat')
DISTANCE, NORMALIZE = ('distance', 'Distance'), ('normalize', 'Normalize')
CONTRAST, AUGMENT = ('contrastive_loss', 'ContrastiveLoss'), ('augment', 'Augment')
LAYERS = [UNPOOL, REPEAT, DISTANCE, NORMALIZE, CONTRAST, AUGMENT]

MAP, CODES, PAIRS = (2, 3, 4, 5), (6, 3, 1, 2), (9, 2, 20, 23)
CASES = [(UNPOOL, [MAP, MAP], {}), (UNPOOL, [MAP, MAP], dict(stride=3)),
         (UNPOOL, [(1, 2, 8, 8)] * 2, dict(stride=1)),
         (REPEAT, [MAP], {}), (REPEAT, [MAP], dict(stride=3)), (REPEAT, [MAP], dict(stride=1)),
         (DISTANCE, [CODES, CODES], {}), (DISTANCE, [(5,), (5,)], {}),
         (NORMALIZE, [CODES], {}), (NORMALIZE, [CODES], dict(length=6.5)),
         (NORMALIZE, [(3, 700)], dict(length=2, epsilon=1e-3)), (NORMALIZE, [(5,)], {}),
         (CONTRAST, [CODES, CODES, (6,)], {}),
         (CONTRAST, [CODES, CODES, (6, 1)], dict(margin=2.5, neutral=2)),
         (CONTRAST, [CODES, CODES, (6,)], dict(neutral=None, margin=3)),
         (CONTRAST, [(6, 700), (6, 700), (6,), (6,)], dict(margin=30, neutral=0)),
         (AUGMENT, [PAIRS], dict(crop=16)), (AUGMENT, [PAIRS], dict(crop=20, seed=4294967295)),
         (AUGMENT, [PAIRS], dict(crop=9, rotate=45, scale=0.5, intensity=0.9, flip=0, seed=7)),
         (AUGMENT, [(40, 2, 66, 66)], dict(flip=1.0)),
         (AUGMENT, [PAIRS], dict(crop=16, rotate=0, scale=0, intensity=0))]
NAMES = ['x', 'other', 'label', 'mark']


@pytest.fixture(autouse=True)
def aliases(tmp_path, monkeypatch):
    """A module in which our layers are Python's in every build."""
    lines = [f'from layers.{module} import {layer}\n' for module, layer in LAYERS]
    (tmp_path / 'aliases.py').write_text(''.join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'aliases', raising=False)


def build(kind, shapes, text, path, form, phase=caffe.TRAIN):
    """A net of Input layers and one of ours, layer `top`. form: 'own' or 'python'."""
    module, layer = kind
    n = test_layers.inputs(caffe.NetSpec(), **dict(zip(NAMES, shapes)))
    made = L.Python(*(n[name] for name in NAMES[:len(shapes)]), layer=layer, param_str=text,
                    ntop=3 if kind == AUGMENT else 1, name='top',
                    module=f'layers.{module}' if form == 'own' else 'aliases')
    for i, top in enumerate(made if kind == AUGMENT else [made]):
        n['top' if i == 0 else f'top{i}'] = top
    return test_layers.build(n, path, phase)


def drawn(kind, shapes, stride=2):
    """Bottoms with whatever is a special case: equal elements and codes, a code of zeros, values
    that add up in one place, the switch of a window of NaN, a pair without a reference."""
    random = np.random.RandomState(3)
    if kind == AUGMENT:
        pairs = random.randint(0, 256, shapes[0])
        pairs[[0, -1], 1] = 0
        return [pairs]
    bottoms = [random.randn(*shape) for shape in shapes]
    if kind == UNPOOL:
        bottoms[1] = random.randint(-1, np.prod(shapes[0][2:]) * stride ** 2, shapes[0])
    if kind in (DISTANCE, CONTRAST):
        bottoms[1][0] = bottoms[0][0]
    if kind == NORMALIZE:
        bottoms[0][1] = 0
    if kind == CONTRAST:
        bottoms[0][3] = 0
        bottoms[2] = random.permutation(len(bottoms[0])).reshape(shapes[2]) % 3
        bottoms[3:] = [random.choice([0, 1.2], shape) for shape in shapes[3:]]
    return bottoms


def passed(net, bottoms):
    """A pass there and back: all tops, and the gradients of all bottoms."""
    for name, values in zip(NAMES, bottoms):
        net.blobs[name].data[...] = values
        net.blobs[name].diff[...] = 0
    net.forward()
    tops = [net.blobs[name] for name in net.blobs if name.startswith('top')]
    values = [top.data.copy() for top in tops]
    random = np.random.RandomState(4)
    for top in tops:
        top.diff[...] = random.randn(*top.data.shape)
    net.backward()
    return values + [net.blobs[name].diff.copy() for name in NAMES[:len(bottoms)]]


def assert_equal_to_python(case, path, bottoms, phase=caffe.TRAIN):
    kind, shapes, settings = case
    found = [build(kind, shapes, json.dumps(settings), path, form, phase)
             for form in ('own', 'python')]
    for batch in bottoms, [np.roll(values, 1, 0) for values in bottoms]:  # nothing of it stays
        for ours, expected in zip(*(passed(net, batch) for net in found)):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    return found[0]


@pytest.mark.parametrize('case', CASES, ids=str)
def test_a_form_is_equal_to_the_python_layer(case, tmp_path):
    kind, shapes, settings = case
    bottoms = drawn(kind, shapes, settings.get('stride', 2))
    net = assert_equal_to_python(case, tmp_path, bottoms)
    defined = getattr(importlib.import_module(f'layers.{kind[0]}'), kind[1])
    assert isinstance(net.layers[list(net._layer_names).index('top')], defined) != COMPILED


@pytest.mark.parametrize('case', [case for case in CASES if case[0] == AUGMENT], ids=str)
def test_the_middle_is_equal_to_the_python_layers(case, tmp_path):
    assert_equal_to_python(case, tmp_path, drawn(*case[:2]), caffe.TEST)


@pytest.mark.parametrize('case', [CASES[i] for i in (0, 3, 6, 8, 13)], ids=str)
def test_nan_goes_the_same_way(case, tmp_path):
    bottoms = drawn(*case[:2])
    bottoms[0][0, 0, 0] = np.nan
    assert_equal_to_python(case, tmp_path, bottoms)


@pytest.mark.parametrize('form', ['own', 'python'])
@pytest.mark.parametrize('case', [case for case in CASES if case[0] != AUGMENT], ids=str)
def test_gradients_are_the_numerical_ones(case, form, tmp_path):
    kind, shapes, settings = case
    if np.prod(shapes[0]) > 200:
        pytest.skip('too many elements')
    net = build(kind, shapes, json.dumps(settings), tmp_path, form)
    bottoms = drawn(kind, shapes, settings.get('stride', 2))
    codes = 2 if kind in (DISTANCE, CONTRAST) else 1
    bottoms[:codes] = test_layers.apart(codes, *shapes[0])  # no kink within a step
    for name, values in zip(NAMES, bottoms):
        net.blobs[name].data[...] = values
    test_layers.assert_gradient(net, 'top', NAMES[:codes])


@pytest.mark.parametrize('kind, bottoms, text, words', [
    (UNPOOL, [MAP, MAP], '{"stride": "2"}', "param_str of Unpool: stride cannot be '2'"),
    (REPEAT, [MAP], '{"strides": 2}', "param_str of Repeat: unknown name 'strides'"),
    (REPEAT, [MAP], '{"stride": 2', 'param_str of Repeat is not JSON'),
    (REPEAT, [MAP], '{"stride": 02}', 'param_str of Repeat is not JSON'),
    (REPEAT, [MAP], '{"stride": 2,}', 'param_str of Repeat is not JSON'),
    (REPEAT, [MAP], '{"stride": 2} {}', 'param_str of Repeat is not JSON'),
    (REPEAT, [MAP], '{"stride": 2.0}', 'param_str of Repeat: stride cannot be 2.0'),
    (REPEAT, [MAP], '{"stride": null}', 'param_str of Repeat: stride cannot be None'),
    (DISTANCE, [CODES, CODES], '{"margin": 1}', "param_str of Distance: unknown name 'margin'"),
    (DISTANCE, [CODES, CODES], '[]', 'param_str of Distance must be a JSON object'),
    (NORMALIZE, [CODES], '{"length": 0}', 'Normalize: length must be above 0, not 0'),
    (NORMALIZE, [CODES], '{"epsilon": true}', 'param_str of Normalize: epsilon cannot be True'),
    (CONTRAST, [CODES, CODES, (6,)], '{"margin": -1.5}', 'margin must be above 0, not -1.5'),
    (CONTRAST, [CODES, CODES, (6,)], '{"neutral": 1.5}', 'neutral cannot be 1.5'),
    (CONTRAST, [CODES, CODES, (6,)], '{"margin": null}', 'margin cannot be None'),
    (AUGMENT, [PAIRS], '{"crop": 16.5}', 'param_str of Augment: crop cannot be 16.5'),
    (AUGMENT, [PAIRS], '{"crop": 0}', 'Augment: crop 0 does not fit the image'),
    (AUGMENT, [PAIRS], '{"crop": 16, "seed": -1}', 'Seed must be between 0 and')])
def test_wrong_settings_are_told_by_the_python_layer(kind, bottoms, text, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        build(kind, bottoms, text, tmp_path, 'own')


@pytest.mark.parametrize('text', ['', '{}', ' { } ', '{"stride":2}', '\n{ "stride" :\t2 } ',
                                  '{\n  "stride": 7,\n  "stride": 2\n}'])
def test_a_param_str_may_be_written_in_all_ways_of_json(text, tmp_path):
    net = build(REPEAT, [MAP], text, tmp_path, 'own')
    assert net.blobs['top'].data.shape == (2, 3, 8, 10)
    assert isinstance(net.layers[-1], repeat.Repeat) != COMPILED


@pytest.mark.parametrize('kind, shapes, words', [
    (UNPOOL, [MAP, (2, 3, 5, 4)], 'Unpool: values .* and switches .* differ in shape'),
    (DISTANCE, [CODES, (6, 6)], 'Distance: codes .* and .* differ in shape'),
    (CONTRAST, [CODES, (6, 6), (6,)], 'ContrastiveLoss: codes .* and .* differ in shape'),
    (CONTRAST, [CODES, CODES, (5,)], 'ContrastiveLoss: 6 codes but 5 labels'),
    (CONTRAST, [CODES, CODES, (6,), (7,)], 'ContrastiveLoss: 6 codes, 7 marks'),
    (AUGMENT, [(4, 3, 66, 66)], 'Augment takes pairs: 2 channels, not 3'),
    (AUGMENT, [(4, 2, 63, 66)], 'Augment: crop 64 does not fit the image')])
def test_wrong_bottoms_are_told_in_the_same_words(kind, shapes, words, tmp_path):
    # In a process of its own: a form ends it, as all of Caffe's own layers do.
    script = (f'import test_layer_forms as t, pathlib; '
              f't.build({kind}, {shapes}, "", pathlib.Path({str(tmp_path)!r}), "own")')
    made = subprocess.run([sys.executable, '-c', script], cwd=places.ROOT, stderr=subprocess.PIPE,
                          text=True, env={**os.environ, 'PYTHONPATH': 'tests:.'})
    assert made.returncode
    assert re.search(words, made.stderr)


# --- the kernels ---

def rerun(before='', after='', **environment):
    """All tests of our layers again, in a process that does something before and after them."""
    script = (f'import caffe, ctypes, pytest, sys\n{before}\n'
              'status = pytest.main(["-q", "-p", "no:cacheprovider", "-k", "not kernels", '
              '"tests/test_layers.py", "tests/test_layer_forms.py"])\n'
              f'{after}\nsys.exit(status)')
    done = subprocess.run([sys.executable, '-c', script], cwd=places.ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.skipif(not KERNELS.exists(), reason='no kernels are compiled for the CPU here')
def test_kernels_compiled_for_the_cpu_pass_these_tests():
    rerun(after='assert ctypes.c_int.in_dll(ctypes.CDLL(None), "kernels_launched").value > 100',
          LD_PRELOAD=str(KERNELS))


@pytest.mark.skipif(not BUILD.endswith('+cuda') or subprocess.run(
    ['caffe', 'device_query', '-gpu', '0'], stderr=subprocess.DEVNULL).returncode != 0,
    reason='there is no Caffe for GPUs here, or no GPU')
def test_kernels_pass_these_tests_on_a_gpu():
    rerun(before='caffe.set_mode_gpu()')
