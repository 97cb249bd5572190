"""Figure 5: features, their silhouette, and their plane."""
import caffe
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from prototxt import net as networks
from tools.core import plots
from tools.figures import figure5_embedding


def blobs(rng, n=30):
    """Three clouds, well apart, in 20 dimensions, and their labels."""
    labels = np.repeat(np.arange(3), n // 3)
    return 8 * np.eye(20)[labels] + rng.normal(size=(n, 20)), labels


def test_features_are_those_of_a_direct_pass(tmp_path):
    """Of more images than a batch, against one pass of all of them."""
    path = tmp_path / 'cnn.prototxt'
    path.write_text(networks.deploy('cnn', 7))
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)
    net = caffe.Net(str(path), caffe.TEST)
    for parameters in net.params.values():
        if len(parameters) == 3:  # batch norm without statistics gives nan or zeros
            parameters[1].data[...], parameters[2].data[...] = 1, 1
    queries = np.random.RandomState(0).rand(70, 1, 64, 64).astype(np.float32)
    found = figure5_embedding.features(net, queries)
    net.blobs['query'].reshape(70, 1, 64, 64)
    net.blobs['query'].data[...] = queries
    net.forward()
    assert found.shape == (70, 384)
    np.testing.assert_allclose(found, net.blobs['fc1'].data, rtol=1e-4, atol=1e-5)
    assert found.std(0).max() > 0.01 and found.min() == 0  # faces differ; after the ReLU


def test_silhouette_against_its_definition():
    vectors, labels = blobs(np.random.RandomState(0))
    distance = cdist(vectors, vectors)
    expected = []
    for i, own in enumerate(labels):
        mean = [distance[i, labels == other].mean() for other in range(3)]
        within = distance[i, labels == own].sum() / (np.sum(labels == own) - 1)
        apart = min(mean[other] for other in range(3) if other != own)
        expected.append((apart - within) / max(apart, within))
    assert figure5_embedding.silhouette(vectors, labels) == pytest.approx(np.mean(expected))
    assert np.isnan(figure5_embedding.silhouette(vectors, np.zeros(30, int)))


def test_the_plane_keeps_clouds_apart_and_repeats():
    vectors, labels = blobs(np.random.RandomState(1))
    plane = figure5_embedding.embed(vectors)
    np.testing.assert_array_equal(plane, figure5_embedding.embed(vectors))
    assert plane.shape == (30, 2) and figure5_embedding.silhouette(plane, labels) > 0.5


@pytest.mark.filterwarnings('ignore:invalid value')
def test_features_that_are_all_alike_have_a_plane():
    assert np.isfinite(figure5_embedding.embed(np.zeros((6, 5)))).all()


def test_the_figure_gives_the_silhouette_of_the_features_not_of_the_plane(tmp_path, monkeypatch):
    vectors, labels = blobs(np.random.RandomState(2))
    drawn = []
    monkeypatch.setattr(plots, 'save', lambda figure, path: drawn.append(figure))
    monkeypatch.setattr(figure5_embedding, 'embed', lambda vectors, seed: vectors[:, 1:3])
    classes = ['anger', 'fear', 'happy']
    figure5_embedding.draw(tmp_path / 'x', {'pixels': vectors, 'CNN': vectors[:, :4]}, labels,
                           classes)
    first, second = drawn[0].axes
    score = figure5_embedding.silhouette(vectors, labels)
    assert first.get_title() == f'(a) pixels\nsilhouette {score:.2f} in 20 dimensions'
    assert second.get_title().startswith('(b) CNN\n') and 'in 4 dimensions' in second.get_title()
    assert len(first.collections) == 3  # a class each, with its own marker
    assert len({len(points.get_paths()[0].vertices) for points in first.collections}) > 1
    np.testing.assert_array_equal(first.collections[1].get_offsets(), vectors[labels == 1, 1:3])
    assert [text.get_text() for text in second.get_legend().get_texts()] == classes
