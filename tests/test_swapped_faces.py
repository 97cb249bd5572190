"""Expressions drawn on other people: who is paired with whom, what is measured, and the figure."""
from pathlib import Path

import caffe
import numpy as np
import pytest
import test_figures
from test_figures import built, place  # noqa: F401

from prototxt import neighbours, net
from tools.core import fold_data, plots
from tools.figures import swapped_faces

RANDOM = np.random.RandomState(6)


def add_run():
    """A tested run of fold 0 with random weights of all that draws."""
    folder = test_figures.add_run('degan')
    path = folder / 'redraw.prototxt'
    path.write_text(neighbours.redraw(net.SETTINGS))
    made = caffe.Net(str(path), caffe.TEST)
    for blobs in made.params.values():
        if len(blobs) == 3:  # batch norm's variance, and how often it was measured
            blobs[1].data[...], blobs[2].data[...] = 1, 1
    made.save(str(folder / 'snapshots/degan_iter_5.caffemodel'))
    return folder


def test_each_expression_is_drawn_on_somebody_else_who_shows_it_too():
    people, labels = np.array(list('AABBCD')), np.array([0, 1, 0, 1, 0, 2])
    referred = np.array([True, True, True, False, True, True])
    sources, truths = swapped_faces.pair_people(people, labels, referred)
    # B shows 1 without a reference to draw it on, so A has nobody; D is alone with 2.
    assert sources.tolist() == [0, 2, 3, 4]
    assert (people[sources] != people[truths]).all() and (labels[sources] == labels[truths]).all()
    assert referred[truths].all() and truths[2] == 1
    assert not swapped_faces.pair_people(people[:2], labels[:2], referred[:2]).size


def test_distance_is_the_mean_length_of_the_differences():
    a, b = RANDOM.rand(2, 3, 1, 64, 64)
    expected = np.mean([np.linalg.norm((a - b)[i].ravel()) for i in range(3)])
    assert swapped_faces.distance(a, b) == pytest.approx(expected)


def test_what_is_drawn_hangs_on_both_and_on_no_neighbour_in_the_batch(place):  # noqa: F811
    made = swapped_faces.load(add_run(), 'demo', 0)
    queries, people = RANDOM.rand(2, 70, 1, 64, 64).astype(np.float32)
    drawn = swapped_faces.redraw(made, queries, people)
    for i in (0, 69):
        alone = swapped_faces.redraw(made, queries[i:i + 1], people[i:i + 1])
        np.testing.assert_allclose(drawn[i], alone[0], atol=1e-5)
    others = [swapped_faces.redraw(made, queries[:1], people[1:2]),
              swapped_faces.redraw(made, queries[1:2], people[:1])]
    assert all(np.abs(other - drawn[:1]).max() > 1e-5 for other in others)


def test_the_figure_and_its_distances(place, monkeypatch, capsys):  # noqa: F811
    folder = add_run()
    assert test_figures.make(monkeypatch) is None
    said = capsys.readouterr().out
    assert 'runs/demo/figures/swapped_faces.png and .pdf' in said
    assert Path('runs/demo/figures/swapped_faces.png').stat().st_size > 10_000
    line, = [line for line in said.splitlines() if line.startswith('Expressions drawn on others')]
    made = swapped_faces.load(folder, 'demo', 0)
    rows, queries, references, labels = fold_data.read_part('demo', 0, 'test')
    people = np.array([row['subject'] for row in rows])
    sources, truths = swapped_faces.pair_people(people, labels, np.ones(len(rows), bool))
    drawn = swapped_faces.redraw(made, queries[sources], references[truths])
    for name, pictures in (('drawn', drawn), ('neutral', references[truths])):
        lengths = [np.linalg.norm((a - b).ravel()) for a, b in zip(pictures, queries[truths])]
        assert f'{name} {np.mean(lengths):.2f}' in line


def test_where_nobody_shares_an_expression_there_is_no_figure(tmp_path):
    rows = [dict(subject='A'), dict(subject='B')]
    images = RANDOM.rand(2, 1, 64, 64)
    assert 'no two test people' in swapped_faces.draw(
        tmp_path / 'x', None, rows, images, images, np.array([0, 1]), ['a', 'b'])


def test_a_run_of_damaged_weights_is_a_sentence(place):  # noqa: F811
    folder = add_run()
    for path in (folder / 'snapshots').glob('*.caffemodel'):
        path.write_bytes(path.read_bytes()[:-100])
    before = plots.plt.get_fignums()
    with pytest.raises(SystemExit, match='degan'):
        swapped_faces.load(folder, 'demo', 0)
    assert plots.plt.get_fignums() == before
