"""The recipe: which trainings it asks for, in which order, and from which weights."""
from pathlib import Path

import pytest

from prototxt import net
from tools import cv, extract_weights, recipe, train


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The command lines that tools.cv, train and extract_weights are given, in their order."""
    monkeypatch.chdir(tmp_path)
    Path('prototxt/pretrained').mkdir(parents=True)
    Path('prototxt/pretrained/generator.caffemodel').touch()
    lines = []
    for name, program in (('cv', cv), ('train', train), ('extract', extract_weights)):
        monkeypatch.setattr(program, 'main', lambda words, name=name: lines.append([name, *words]))
    return lines


def after(words, name):
    return words[words.index(name) + 1]


def test_expressions_first_then_each_network_from_there(asked):
    assert recipe.main(['compare', '--dataset', 'mine', '--variants', 'cnn s1r1 s0r0', '--folds',
                        '3 4', '--seeds', '2', '--last', '160']) == 0
    assert [after(words, '--variants') for words in asked] == ['expression', 's1r1 s0r0', 'cnn']
    assert [after(words, '--iters') for words in asked] == ['360', '160', '160']
    for words in asked:
        assert words[:3] == ['cv', '--dataset', 'mine']
        assert (after(words, '--folds'), after(words, '--seeds')) == ('3 4', '2')
        assert '--jobs' not in words and '--gpus' not in words  # not given: tools.cv's own

    expression = ('runs/mine/expression/fold{fold}_seed{seed}/snapshots/'
                  'expression_iter_360.caffemodel')
    assert '--weights' not in asked[0]
    assert after(asked[1], '--weights') == f'prototxt/pretrained/generator.caffemodel,{expression}'
    assert after(asked[2], '--weights') == expression


def test_an_identification_network_is_where_the_expressions_start(asked, tmp_path):
    (tmp_path / 'identity.caffemodel').touch()
    recipe.main(['compare', '--variants', 'cnn', '--pretrained', str(tmp_path)])
    assert after(asked[0], '--weights') == f'{tmp_path}/identity.caffemodel'


def test_a_folder_without_weights_is_no_other_recipe(asked):
    with pytest.raises(SystemExit, match='runs/pretraned holds none of the weights of'):
        recipe.main(['compare', '--variants', 'cnn', '--pretrained', 'runs/pretraned'])
    assert not asked


def test_a_stage_that_was_stopped_is_the_last(asked, monkeypatch):
    monkeypatch.setattr(cv, 'main', lambda words: asked.append(words) or 130)
    assert recipe.main(['compare', '--variants', 'cnn s1r1']) == 130 and len(asked) == 1


@pytest.mark.parametrize('variants', ['', 'cnn s2r1', 'expression'])
def test_variants_that_are_none_are_refused(asked, variants):
    with pytest.raises(SystemExit, match='VARIANTS must be of cnn metric s0r0'):
        recipe.main(['compare', '--variants', variants])
    assert not asked


@pytest.mark.parametrize('raw, dataset, networks', [
    ([], 'demo_people', ['generator']), (['--raw'], 'webface', ['autoencoder', 'identity'])])
def test_pretraining_then_its_weights(asked, raw, dataset, networks):
    assert recipe.main(['pretrain', *raw, '--iters', '9', '--seed', '4']) == 0
    *trained, extracted = asked
    assert [after(words, '--variant') for words in trained] == networks
    for words in trained:
        assert (after(words, '--dataset'), after(words, '--iters'), after(words, '--seed')) == (
            dataset, '9', '4')
    assert extracted == ['extract', *(f'runs/{dataset}/{name}/fold0_seed4' for name in networks),
                         '--out', f'runs/{dataset}/pretrained']


def test_pretraining_on_faces(asked):
    recipe.main(['pretrain', '--faces', 'ferplus7_validation', '--iters', '9'])
    expression, generator, cnn, s1r1, extracted = asked
    for words, variant in ((expression, 'expression'), (cnn, 'cnn'), (s1r1, 's1r1')):
        assert (after(words, '--dataset'), after(words, '--variant')) == (
            'ferplus7_validation', variant)
    assert (after(generator, '--dataset'), after(generator, '--variant')) == (
        'ferplus7_referred_validation', 'generator')
    assert 'generator=vae' in after(generator, '--set')
    assert '--weights' not in expression + generator

    expressions = 'runs/ferplus7_validation/expression/fold0_seed1/snapshots/expression_iter_9'
    drawing = 'runs/ferplus7_referred_validation/generator/fold0_seed1/snapshots/generator_iter_9'
    assert after(cnn, '--weights') == f'{expressions}.caffemodel'
    assert after(s1r1, '--weights') == f'{drawing}.caffemodel,{expressions}.caffemodel'
    assert cnn[cnn.index('--iters'):-2] == s1r1[s1r1.index('--iters'):-2]  # alike but for that
    assert extracted == ['extract', 'runs/ferplus7_referred_validation/generator/fold0_seed1',
                         'runs/ferplus7_validation/cnn/fold0_seed1',
                         'runs/ferplus7_validation/s1r1/fold0_seed1',
                         '--out', 'runs/ferplus7_validation/pretrained']


def test_from_faces_every_network_starts_at_once(asked, tmp_path):
    (tmp_path / 'expression.caffemodel').touch()
    recipe.main(['compare', '--variants', 'cnn s1r1', '--pretrained', str(tmp_path)])
    s1r1, cnn = asked
    assert (after(s1r1, '--variants'), after(cnn, '--variants')) == ('s1r1', 'cnn')
    assert after(s1r1, '--weights') == (f'{tmp_path}/generator.caffemodel,'
                                        f'{tmp_path}/expression.caffemodel')
    assert after(cnn, '--weights') == f'{tmp_path}/expression.caffemodel'
    assert after(s1r1, '--set') == after(cnn, '--set')
    assert 'classifier=code' in after(cnn, '--set')  # FC's names are the pre-trained CNN's

    (tmp_path / 'gcnet.caffemodel').touch()
    recipe.main(['compare', '--variants', 'cnn s1r1', '--pretrained', str(tmp_path)])
    assert after(asked[2], '--weights') == (f'{tmp_path}/generator.caffemodel,'
                                            f'{tmp_path}/gcnet.caffemodel')
    assert after(asked[3], '--weights') == f'{tmp_path}/expression.caffemodel'


@pytest.mark.parametrize('pretrained', ['faces', ''])
def test_neighbours_draw_on_known_faces(asked, tmp_path, pretrained):
    weights = 'expression' if pretrained else 'generator'
    (tmp_path / f'{weights}.caffemodel').touch()
    recipe.main(['compare', '--variants', 'degan cnn disentangled', '--pretrained', str(tmp_path)])
    cnn, relatives = asked[-2:]
    assert after(relatives, '--variants') == 'degan disentangled'
    for name in '--weights', '--iters', '--batch', '--base-lr':
        assert after(relatives, name) == after(cnn, name)

    given = dict(word.split('=') for word in after(relatives, '--set').split())
    assert given.pop('pixel_scale') == 'relative'  # tools.train puts a number in its place
    settings = {name: given[name] for name in given if name in net.SETTINGS}
    for variant in after(relatives, '--variants').split():
        assert net.known(variant, settings)['generator'] == 'change'
