"""How figures are written, and the program that makes the paper's from whatever runs there are."""
import csv
import json
import re
import shutil
from pathlib import Path

import caffe
import ckplus_tree
import cv2
import numpy as np
import places
import pytest
from scipy import stats

from data_prep import build, datasets, spreadsheet
from prototxt import net as networks
from tools import evaluate, make_figures
from tools.core import fold_data, measured, metrics, network, plots, run_folder, tested_run
from tools.figures import figure4_depth, figure4_faces, figure6_filters, learning_curves

CLASSES = datasets.SEVEN


def add_run(variant, fold=0, seed=1, tested=True):
    """Makes a run folder as training and test leave it, of an untrained network with invented
    losses."""
    folder = run_folder.folder_of('demo', variant, fold, seed)
    (folder / 'snapshots').mkdir(parents=True)
    (folder / 'deploy.prototxt').write_text(networks.deploy(variant, len(CLASSES)))
    caffe.set_random_seed(seed)
    net = caffe.Net(str(folder / 'deploy.prototxt'), caffe.TEST)
    for parameters in net.params.values():
        if len(parameters) == 3:  # batch norm's variance, and how often it was measured
            parameters[1].data[...], parameters[2].data[...] = 1, 1
    run = dict(dataset='demo', variant=variant, fold=fold, seed=seed, iterations=5)
    run.update(fold_data.fingerprint(run['dataset'], run['fold']))
    rows, queries, _, _ = fold_data.read_part(run['dataset'], run['fold'], 'test')
    network.run(net, queries)
    score, = [name for name in net.params if name.startswith('score')]
    # or it says the same of every face
    net.params[score][1].data[...] = -net.blobs['score'].data.mean(0)
    net.save(str(folder / f'snapshots/{variant}_iter_5.caffemodel'))
    (folder / 'run.json').write_text(json.dumps(run))
    (folder / 'metrics.csv').write_text(
        'iteration,seconds,lr,loss,loss_cls,test_accuracy\n0,1,0.1,2,2.5,\n'
        '5,2,0.1,1,1.5,0.25\n')
    if tested:
        probabilities = network.run(net, queries)['prob']
        (folder / 'predictions.csv').write_text(evaluate.predictions(rows, probabilities, CLASSES))
        (folder / 'result.json').write_text(json.dumps(dict(iterations=5)))
    return folder


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """A folder with a small data set, raw and built; of fold 0 are two people with two sequences
    each."""
    place = tmp_path_factory.mktemp('built')
    raw = ckplus_tree.make(place / 'data/raw/demo')
    build.build(str(place / 'data/demo'), 'demo', raw)
    return place


@pytest.fixture
def place(built, tmp_path, monkeypatch):
    """A copy of it as working directory; in place of t-SNE, which takes long, the first values of
    each."""
    shutil.copytree(built, tmp_path / 'copy')
    monkeypatch.chdir(tmp_path / 'copy')
    monkeypatch.setattr(make_figures.figure5_embedding, 'embed',
                        lambda vectors, seed: vectors[:, :2])


@pytest.fixture
def unseen(place, monkeypatch):
    """In place, figures are drawn but written as empty files."""
    def save(figure, path):
        plots.plt.close(figure)
        for ending in ('.png', '.pdf'):
            path.with_suffix(ending).touch()

    monkeypatch.setattr(plots, 'save', save)


def make(monkeypatch, *arguments):
    """Runs the program; what it says where it ends in a refusal, else None."""
    return places.refusal(monkeypatch, make_figures.main, *arguments)


def pictures():
    return {path.name for path in Path('runs/demo/figures').iterdir()}


def both(*names):
    return {f'{name}.{ending}' for name in names for ending in ('png', 'pdf')}


def test_a_figure_for_print_is_png_and_pdf_and_one_for_the_screen_is_what_it_says(tmp_path):
    figure, axes = plots.plt.subplots(figsize=(3, 2))
    axes.set_title('$\\hat{X}_r$ and letters')
    plots.save(figure, tmp_path / 'print')
    plots.save(figure, tmp_path / 'screen.png')
    assert cv2.imread(str(tmp_path / 'print.png')).shape == (600, 900, 3)
    assert cv2.imread(str(tmp_path / 'screen.png')).shape == (300, 450, 3)
    pdf = (tmp_path / 'print.pdf').read_bytes()
    assert pdf.startswith(b'%PDF') and pdf.rstrip().endswith(b'%%EOF')
    assert re.search(rb'/MediaBox \[ 0 0 216 144 \]', pdf)  # 72 points an inch
    # letters and mathematics, as TrueType
    assert pdf.count(b'/FontFile2') >= 2 and b'/Type3' not in pdf
    assert {path.name for path in tmp_path.iterdir()} == {'print.png', 'print.pdf', 'screen.png'}
    plots.save(figure, tmp_path / 'again')
    assert (tmp_path / 'again.pdf').read_bytes() == pdf


def test_variants_can_be_told_apart_in_grey():
    styles = [plots.style(variant) for variant in plots.VARIANTS]
    assert plots.VARIANTS[:2] == ('cnn', 's1r1') and set(plots.VARIANTS) == set(networks.VARIANTS)
    for part in ('color', 'linestyle', 'marker'):
        assert len({str(style[part]) for style in styles}) == len(styles)
    # as many as a set has expressions
    assert len(set(plots.COLOURS)) == len(set(plots.MARKERS)) == 8
    assert [plots.name(name) for name in ('cnn', 's1r0')] == ['CNN', 'GCNet$_{S1R0}$']


def test_metrics_are_the_rows_that_have_a_value(tmp_path):
    path = tmp_path / 'metrics.csv'
    path.write_text('iteration,loss_cls,test_accuracy\n0,2.5,\n20,1.5,0.5\n40,,0.75\n')
    columns = metrics.read_columns(path)
    assert [z.tolist() for z in columns['loss_cls']] == [[0, 20], [2.5, 1.5]]
    assert [z.tolist() for z in columns['test_accuracy']] == [[20, 40], [0.5, 0.75]]
    for text in ('iteration,loss\n1,x\n', 'loss\n1\n', 'iteration,loss\n1,2,3\n'):
        path.write_text(text)
        with pytest.raises(SystemExit, match='metrics.csv is damaged'):
            metrics.read_columns(path)
    path.write_bytes(b'\xff\xfe')
    with pytest.raises(SystemExit, match='metrics.csv cannot be read'):
        metrics.read_columns(path)


def test_curves_are_thinned_by_means():
    x, y = learning_curves.thin(np.arange(6.0), np.array([1, 3, 5, 7, 9, 11.0]), most=3)
    assert (x, y) == ([0.5, 2.5, 4.5], [2, 6, 10])
    assert learning_curves.thin(np.arange(2.0), np.ones(2)) == ([0, 1], [1, 1])


def test_learning_curves_have_a_panel_a_loss(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, 'save', lambda figure, path: drawn.append(figure))
    x = np.array([0, 20])
    learning_curves.draw(
        tmp_path / 'x', {
            'cnn': {
                'loss_cls': (x, [2, 1]), 'lr': (x, [1, 1]), 'test_accuracy': (x, np.array(
                    [0.2, 0.6]))
            }, 's1r0': {'loss_cls': (x, [3, 2]), 'loss_contr': (x, [5, 4])}
        })
    cls, contr, accuracy = drawn[0].axes
    assert [axes.get_title() for axes in (cls, contr)] == ['Cls', 'Contr']
    assert [line.get_ydata().tolist() for line in cls.lines] == [[2, 1], [3, 2]]
    assert [line.get_ydata().tolist() for line in contr.lines] == [[5, 4]]
    assert contr.lines[0].get_color() == cls.lines[1].get_color() == plots.style('s1r0')['color']
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[20, 60], []]
    assert [text.get_text()
            for text in accuracy.get_legend().get_texts()] == ['CNN', 'GCNet$_{S1R0}$']


def test_filters_are_those_of_the_layers_in_grey_around_0(tmp_path, monkeypatch):
    weights = np.random.RandomState(0).normal(0.5, size=(11, 5, 5))
    canvas = figure6_filters.tile(weights)
    assert canvas.shape == (8 * 6 + 1, 2 * 6 + 1) and np.isnan(canvas[:, [0, 6, 12]]).all()
    np.testing.assert_array_equal(canvas[1:6, 7:12], weights[1])
    np.testing.assert_array_equal(canvas[31:36, 1:6], weights[10])
    assert np.isnan(canvas[31:36, 7:12]).all()
    drawn = []
    monkeypatch.setattr(plots, 'save', lambda figure, path: drawn.append(figure))
    figure6_filters.draw(tmp_path / 'x', {'en2/conv1': weights, 'de1_r/deconv2': weights / 10})
    panels = [axes for axes in drawn[0].axes if axes.get_title()]
    assert [axes.get_title()[:8] for axes in panels] == ['(a) En$_', '(b) De$_']
    for axes, most in zip(panels, (abs(weights).max(), abs(weights).max() / 10)):
        assert axes.images[0].get_clim() == pytest.approx((-most, most))


def test_of_a_deconvolution_100_filters_are_drawn_the_same_in_each_decoder(tmp_path):
    path = tmp_path / 'deploy.prototxt'
    path.write_text(networks.deploy('s1r1', 7))
    net = caffe.Net(str(path), caffe.TEST)
    for layer in ('en1/conv1', 'de1_r/deconv2', 'de2_r/deconv2'):
        weights = net.params[layer][0].data
        values = np.arange(weights.size)
        weights[...] = (values // 9 if 'deconv' in layer else values).reshape(weights.shape)
    filters = figure6_filters.of(net)
    assert list(filters) == list(figure6_filters.LAYERS)
    assert filters['en1/conv1'].shape == (32, 5, 5)  # all of them, as they are
    np.testing.assert_array_equal(filters['en1/conv1'], np.arange(800).reshape(32, 5, 5))
    inputs, outputs = net.params['de1_r/deconv2'][0].data.shape[:2]
    drawn = filters['de1_r/deconv2']
    assert drawn.shape == (100, 3, 3) and inputs * outputs > 1000
    assert (drawn == drawn[:, :1, :1]).all()  # each is a whole filter
    numbers = drawn[:, 0, 0]
    assert len(set(numbers)) == 100 and (np.diff(numbers) > 0).all()
    # all over the layer: 100 of a uniform draw
    assert stats.kstest(numbers / (inputs * outputs), 'uniform').pvalue > 0.01
    np.testing.assert_array_equal(filters['de2_r/deconv2'], drawn)
    np.testing.assert_array_equal(figure6_filters.of(net)['de1_r/deconv2'], drawn)  # seeded


def invented(n=60):
    """Frames of Figure 4: depths from 0 to 1, six people, missed by turns by CNN, by S1R1, by both,
    by none."""
    rows = [dict(subject=f'S{i % 6}', depth=i / n, expression=CLASSES[i % 7]) for i in range(n)]
    missed = {'cnn': np.arange(n) % 4 < 2, 's1r1': np.arange(n) % 4 % 2 == 0}
    said = {variant: (np.arange(n) + wrong) % 7 for variant, wrong in missed.items()}
    crops = np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 66, 66), np.uint8)
    return figure4_depth.Judged(rows, crops, np.zeros(n, int), said, missed, True)


def test_the_faces_of_figure_4_are_the_weak_ones_that_were_missed(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, 'save', lambda figure, path: drawn.append(figure))
    judged = invented()
    assert figure4_faces.draw(tmp_path / 'x', judged, ('cnn', 's1r1'), CLASSES) is None
    grid = np.array(drawn[0].axes).reshape(3, figure4_faces.COLUMNS)
    assert [line[0].get_ylabel().split('\n') for line in grid] == [
        ['CNN', 'alone', '5 of 20'], ['GCNet$_{S1R1}$', 'alone', '5 of 20'], ['both', '5 of 20']]
    for line, turn in zip(grid, (1, 2, 0)):
        shown = [axes.images[0].get_array()[0, 0] for axes in line if axes.images]
        assert shown == list(range(turn, 20, 4))  # all five, by depth
        for axes, i in zip(line, shown):
            truth, cnn, gcnet = axes.get_xlabel().split('\n')
            assert truth == f'{i / 60:.2f} {CLASSES[i % 7]}'
            assert cnn == f'{"✗" if turn in (0, 1) else "✓"} {CLASSES[judged.said["cnn"][i]]}'
            assert gcnet[0] == ('✗' if turn in (0, 2) else '✓')


def test_of_many_missed_faces_as_many_people_as_can_be_are_shown(tmp_path):
    judged = invented(600)
    chosen = figure4_faces.choose(judged, judged.missed['cnn'])
    assert len(set(chosen)) == figure4_faces.COLUMNS
    assert len({judged.rows[i]['subject'] for i in chosen}) == 6
    assert [judged.rows[i]['depth'] for i in chosen] == sorted(
        judged.rows[i]['depth'] for i in chosen)
    assert list(chosen) == list(figure4_faces.choose(judged, judged.missed['cnn']))
    none = {variant: np.zeros(600, bool) for variant in judged.missed}
    assert 'recognised by both' in figure4_faces.draw(
        tmp_path / 'x', judged._replace(missed=none), ('cnn', 's1r1'), CLASSES)


NAMES = ['$\\frac$', '$x^2$', '$', '\\$', '_hidden', 'a_b^c', '{}', 'x' * 300]


def test_class_names_are_drawn_letter_by_letter(tmp_path):
    """By matplotlib's own word for what it will draw, and whether as a formula."""
    def drawn(text, **options):
        figure = plots.plt.figure(figsize=(3, 1))
        figure.text(0.1, 0.5, text, **options)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba()).copy()
        plots.plt.close(figure)
        return pixels

    for text in ('$x^2$', '$\\frac$', '\\$', '$'):
        shown, is_formula = plots.plt.Text()._preprocess_math(plots.literal(text))
        assert (shown, is_formula) == (text, False)
    assert (drawn(plots.literal('$x^2$')) != drawn('$x^2$')).any()
    assert len(plots.literal('x' * 300)) == plots.LONGEST


def test_every_picture_of_classes_with_any_name_is_made(tmp_path, monkeypatch):
    labels = np.arange(len(NAMES)).repeat(2)
    plots.confusion(tmp_path / 'confusion.png', labels, labels[::-1], NAMES)
    faces = np.random.RandomState(0).rand(len(labels), 1, 64, 64)
    outputs = dict(prob=np.eye(len(NAMES))[labels], generated=faces)
    plots.faces(tmp_path / 'faces.png', faces, faces, outputs, labels, NAMES)
    monkeypatch.setattr(make_figures.figure5_embedding, 'embed',
                        lambda vectors, seed: vectors[:, :2])
    figures = []
    monkeypatch.setattr(plots, 'save', lambda figure, path: figures.append(figure))
    make_figures.figure5_embedding.draw(tmp_path / 'x', dict(pixels=faces.reshape(len(faces), -1)),
                                        labels, NAMES)
    legend = figures[0].axes[0].get_legend()
    assert len(legend.get_texts()) == len(NAMES)  # also the one that begins with _
    figures[0].canvas.draw()
    judged = invented()
    rows = [{**row, 'expression': NAMES[i % 7]} for i, row in enumerate(judged.rows)]
    figure4_faces.draw(tmp_path / 'x', judged._replace(rows=rows), ('cnn', 's1r1'), NAMES)
    figures[1].canvas.draw()
    for name in ('confusion.png', 'faces.png'):
        assert cv2.imread(str(tmp_path / name)).std() > 5


def test_a_row_of_a_confusion_matrix_is_a_true_class(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, 'save', lambda figure, path: figures.append(figure))
    plots.confusion(tmp_path / 'x.png', [0, 0, 0, 1], np.array([0, 1, 1, 1]), ['a', 'b'])
    shown = figures[0].axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[100 / 3, 200 / 3], [0, 100]])


def test_the_confusion_matrix_of_a_variant_has_its_truth_in_rows(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(make_figures.tested_run, 'read_tested', lambda *given: None)
    monkeypatch.setattr(make_figures.predictions, 'read_predictions', lambda *given: [
        dict(truth='a', predicted='b'), dict(truth='a', predicted='a')])
    monkeypatch.setattr(plots, 'confusion', lambda path, *given: asked.append(given))
    make_figures.draw_confusion(tmp_path, 'demo', {0: tmp_path}, ['a', 'b'])
    assert asked == [([0, 0], [1, 0], ['a', 'b'])]


def test_every_figure_of_a_cnn_and_a_gcnet(place, monkeypatch, capsys):
    for variant in ('cnn', 's1r1'):
        add_run(variant)
    add_run('cnn', fold=1)
    add_run('cnn', seed=2)
    assert make(monkeypatch) is None
    figures_of = both('figure4_depth', 'figure4_faces', 'figure5_embedding', 'figure6_filters',
                      'figure7_faces', 'learning_curves', 'confusion_cnn', 'confusion_s1r1')
    assert pictures() == figures_of | {'figure4_depth.csv'}
    # 4.8 x 6 inches
    assert cv2.imread('runs/demo/figures/figure4_depth.png').shape == (1440, 1800, 3)
    for name in pictures():
        if name.endswith('.png'):
            assert cv2.imread(f'runs/demo/figures/{name}').std() > 5
    # two people of fold 0, two sequences each, four frames after the first
    said = capsys.readouterr().out
    assert 'Errors on 16 frames of 2 people, folds 0: cnn' in said
    with open('runs/demo/figures/figure4_depth.csv', newline='') as file:
        table = list(csv.DictReader(file))
    assert {(row['variant'], row['depth_above'], row['depth_to'], row['frames'])
            for row in table} == {(variant, *bin_, '4')
                                  for variant in ('cnn', 's1r1')
                                  for bin_ in (('0.2', '0.3'), ('0.4', '0.5'), ('0.7', '0.8'),
                                               ('0.9', '1'))}
    # the last three frames were tested as well, one by one
    for variant in ('cnn', 's1r1'):
        folder = run_folder.folder_of('demo', variant, 0, 1)
        rows = spreadsheet.read_csv(folder / 'predictions.csv')
        assert len({row['predicted'] for row in rows}) > 1
        for frame, depth_to in (('3', '0.5'), ('4', '0.8'), ('5', '1')):
            missed = [row['truth'] != row['predicted'] for row in rows if row['frame'] == frame]
            found, = (row for row in table
                      if (row['variant'], row['depth_to']) == (variant, depth_to))
            assert len(missed) == 4 and float(found['error']) == 100 * np.mean(missed)


def test_what_is_missing_is_said_and_the_rest_is_made(unseen, monkeypatch, capsys):
    add_run('cnn', fold=2, seed=7)
    assert make(monkeypatch, '--seed', '7') is None
    said = capsys.readouterr().out
    needed = '`make train DATASET=demo VARIANT=s1r1 FOLD=2 SEED=7`'
    for name in ('figure4_depth', 'figure4_faces', 'figure5_embedding', 'figure6_filters',
                 'figure7_faces'):
        assert f'No {name}: run {needed} first.' in said
    assert pictures() == both('learning_curves', 'confusion_cnn')
    add_run('s0r1', fold=2, seed=7, tested=False)
    make(monkeypatch, '--seed', '7')
    assert f'No figure6_filters: run {needed} first.' in capsys.readouterr().out


def test_without_a_seed_it_is_the_least_that_was_tested(unseen, monkeypatch, capsys):
    for seed, tested in ((3, False), (7, True), (12, True)):
        add_run('cnn', fold=2, seed=seed, tested=tested)
    # A classical baseline has seed 1 always.
    baseline = shutil.copytree('runs/demo/cnn/fold2_seed7', 'runs/demo/hog/fold2_seed1')
    path = Path(baseline, 'run.json')
    path.write_text(json.dumps({**json.loads(path.read_text()), 'variant': 'hog', 'seed': 1}))
    assert make(monkeypatch) is None
    assert 'SEED=7`' in capsys.readouterr().out
    assert pictures() == both('learning_curves', 'confusion_cnn')


def test_nothing_to_draw(place, monkeypatch):
    assert 'No tested run of seed 1 in runs/demo: run `make train' in make(monkeypatch)
    assert 'data/mni is not built: run' in make(monkeypatch, '--dataset', 'mni')
    assert 'are its people' in make(monkeypatch, '--dataset', 'webface')
    assert not Path('runs').exists()


def test_a_damaged_run_is_one_sentence_and_the_rest_is_made(unseen, monkeypatch, capsys):
    add_run('cnn')
    model = add_run('s1r1') / 'snapshots/s1r1_iter_5.caffemodel'
    model.write_bytes(model.read_bytes()[:100000])
    said = make(monkeypatch)
    assert said.startswith('No figure4_depth, figure4_faces, figure5_embedding, figure6_filters, '
                           'figure7_faces: ')
    assert 's1r1_iter_5.caffemodel' in said and '\n' not in said
    assert pictures() == both('learning_curves', 'confusion_cnn', 'confusion_s1r1')
    model.unlink()
    assert 'has no snapshot' in make(monkeypatch)


def test_a_run_of_other_data_is_refused(unseen, monkeypatch):
    folder = add_run('s0r0')
    run = json.loads((folder / 'run.json').read_text())
    (folder / 'run.json').write_text(json.dumps({**run, 'data': 'of before'}))
    said = make(monkeypatch)
    assert ('figure6_filters, figure7_faces, confusion_s0r0: runs/demo/s0r0/fold0_seed1 was '
            'trained on') in said
    assert pictures() == both('learning_curves')
    run['iterations'] = 6
    (folder / 'run.json').write_text(json.dumps(run))
    (folder / 'result.json').write_text(json.dumps(dict(iterations=6)))
    assert 'no whole snapshot after iteration 5 of 6' in make(monkeypatch)


def test_raw_data_that_is_elsewhere(unseen, monkeypatch, capsys):
    for variant in ('cnn', 's1r1'):
        add_run(variant)
    shutil.move('data/raw/demo', 'elsewhere')
    for name in ('draw_embedding', 'draw_faces', 'draw_confusion'):
        monkeypatch.setattr(make_figures, name, lambda path, *_, **__: None)
    assert make(monkeypatch) is None  # the others are made
    said = capsys.readouterr().out
    for name in ('figure4_depth', 'figure4_faces'):
        assert f'No {name}: it needs the frames of demo, and data/raw/demo is not there' in said
    assert make(monkeypatch, '--raw', 'elsewhere') is None and 'figure4_depth.pdf' in pictures()


def test_folds_are_pooled_each_by_its_own_networks(place, monkeypatch, capsys):
    for fold in (0, 1):
        for variant in ('cnn', 's1r1'):
            add_run(variant, fold)
    add_run('s1r0', 0)
    add_run('cnn', 3)
    used, drawn, bins = [], {}, figure4_depth.bins

    def judge(net, rows, crops, classes):
        used.append((str(net[0]), {row['subject'] for row in rows}, len(crops)))
        return np.full(len(rows), net[1]), np.full(len(rows), net[1] == 1)

    def bins_of(depths, missed, people, folds):
        return dict(table=bins(depths, missed, people, folds), folds=set(zip(people, folds)),
                    missed={name for name, wrong in zip(people, missed) if wrong})

    monkeypatch.setattr(tested_run, 'load_tested', lambda folder, dataset, fold: (folder, fold))
    monkeypatch.setattr(figure4_depth, 'judge', judge)
    monkeypatch.setattr(figure4_depth, 'bins', bins_of)
    monkeypatch.setattr(figure4_depth, 'text', lambda tables: '')
    monkeypatch.setattr(figure4_depth, 'draw', lambda path, tables, known, n: drawn.update(tables))
    tested = make_figures.by_fold(measured.find_tested('demo'), 1)
    assert list(tested) == [0, 1, 3] and list(tested[0]) == ['cnn', 's1r1', 's1r0']
    rival, folds = make_figures.choose(tested)
    assert (rival, folds) == ('s1r1', [0, 1])
    Path('runs/demo/figures').mkdir()
    path = Path('runs/demo/figures/figure4_depth')
    judged = make_figures.judge_frames('demo', 'data/raw/demo', tested, folds, CLASSES)
    make_figures.draw_depth(path, lambda: judged, CLASSES)
    assert used == [('runs/demo/cnn/fold0_seed1', {'S005', 'S075'}, 16),
                    ('runs/demo/s1r1/fold0_seed1', {'S005', 'S075'}, 16),
                    ('runs/demo/cnn/fold1_seed1', {'S012'}, 8),
                    ('runs/demo/s1r1/fold1_seed1', {'S012'}, 8)]
    assert drawn['cnn']['folds'] == {('S005', 0), ('S075', 0), ('S012', 1)}
    assert (judged.said['s1r1'] == judged.folds).all()  # each frame by the network of its fold
    assert list(drawn) == ['cnn', 's1r1'] and drawn['s1r1']['missed'] == {'S012'}
    assert [(row['frames'], row['people']) for row in drawn['cnn']['table']] == [(6, 3)] * 4
    assert [row['error'] for row in drawn['s1r1']['table']] == pytest.approx([100 / 3] * 4)
    said = capsys.readouterr().out
    assert 'Not in figure4_depth, since not trained on each of its folds: s1r0.' in said


def test_the_gcnet_that_is_set_against_the_cnn():
    tested = {0: {'cnn': 1}, 2: {'cnn': 1, 's0r1': 1}, 4: {'cnn': 1, 's0r1': 1, 's1r0': 1}}
    assert make_figures.choose(tested) == ('s1r0', [4])
    assert make_figures.choose({0: {'cnn': 1}, 1: {'s0r0': 1}}) == ('s0r0', [])
    assert make_figures.choose({0: {'cnn': 1}}) == ('s1r1', [])
