import cv2
import numpy as np
import pytest
from ckplus_tree import face
from skimage.transform import SimilarityTransform, estimate_transform

from data_prep import align


def place(angle, scale, shift):
    """A similarity transform, and the points that it brings onto the targets."""
    transform = SimilarityTransform(scale=scale, rotation=angle, translation=shift)
    return transform, transform.inverse(align.TARGET)


@pytest.mark.parametrize('angle, scale, shift', [(0, 1, (0, 0)), (0.4, 0.23, (-40, 12)),
                                                 (-2.5, 3, (7, -90))])
def test_similarity_undoes_a_known_transform(angle, scale, shift):
    transform, points = place(angle, scale, shift)
    assert np.allclose(align.similarity(points, align.TARGET), transform.params[:2], atol=1e-9)


def test_similarity_is_the_least_squares_one():
    rng = np.random.RandomState(3)
    for _ in range(20):
        points = align.TARGET * 3 + rng.normal(0, 9, (5, 2))
        expected = estimate_transform('similarity', points, align.TARGET).params[:2]
        assert np.allclose(align.similarity(points, align.TARGET), expected, atol=1e-9)


def test_similarity_refuses_points_in_one_place():
    with pytest.raises(ValueError, match='coincide'):
        align.similarity(np.full((5, 2), 7.0), align.TARGET)


def test_similarity_refuses_what_is_no_face():
    """A mirror image, or a row of points, has no turn, scale and shift that makes it a face."""
    for points in (align.TARGET * [-1, 1], np.array([[0, 0], [9, 0], [40, 1], [3, 0], [1, 1.0]])):
        with pytest.raises(ValueError, match='not laid out like'):
            align.similarity(points, align.TARGET)


def test_five_points():
    points = align.five_points(face())
    assert np.allclose(points - [160, 120], [[-25, -20], [25, -20], [0, 8], [-18, 33], [18, 33]])


@pytest.mark.parametrize('angle, scale', [(0, 1), (0.35, 0.24), (-0.2, 0.5), (0.1, 1.7)])
def test_marks_land_on_the_targets(angle, scale):
    """A soft spot drawn on each of the five points is found, by its centre of mass, on the
    target."""
    transform, points = place(angle, scale, (0, 0))
    middle = transform.inverse([[32.5, 32.5]])[0]
    points = points - middle + [200.3, 190.6]
    y, x = np.mgrid[:400, :400]
    for point, target in zip(points, align.TARGET):
        spot = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (1.8 / scale) ** 2))
        crop = align.crop(spot.astype(np.uint8), points).astype(float)
        rows, columns = np.mgrid[:66, :66]
        centre = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
        assert np.abs(centre - target).max() < 0.1


@pytest.mark.parametrize('scale', [0.21, 0.34, 0.5])
def test_shrinking_is_anti_aliased(scale):
    """A checkerboard of single pixels is too fine for the crop and comes out grey, without a
    pattern."""
    board = (np.indices((500, 500)).sum(0) % 2 * 255).astype(np.uint8)
    _, points = place(0.05, scale, (-10, -15))
    crop = align.crop(board, points).astype(float)
    assert abs(crop.mean() - 127.5) < 2
    assert crop.std() < 255 * 0.06


def test_equal_size_is_left_alone():
    image = cv2.GaussianBlur(
        np.random.RandomState(0).randint(0, 256, (66, 66)).astype(np.uint8), (0, 0), 2)
    assert np.array_equal(align.crop(image, align.TARGET), image)


def test_beyond_the_border_the_edge_goes_on():
    crop = align.crop(np.full((48, 60), 90, np.uint8), align.TARGET - [5, 8])
    assert crop.min() == crop.max() == 90


def test_points_outside_of_the_picture():
    for shift in (-30, 30):
        with pytest.raises(ValueError, match='outside'):
            align.crop(np.zeros((66, 66), np.uint8), align.TARGET + [shift, 0])


def test_expressions_stay_inside_the_crop():
    """Raised brows, 14 above the eyes, and the chin, 43 below them, are in the 64 x 64 centre."""
    eyes, mouth = align.TARGET[:2], align.TARGET[3:]
    assert np.allclose(align.TARGET[:, 0].mean(), 32.5)
    assert eyes[0, 1] == eyes[1, 1] and mouth[0, 1] == mouth[1, 1]
    assert eyes[0, 1] - 14 >= 1 and eyes[0, 1] + 43 <= 64


def test_a_picture_too_long_for_opencv_is_named():
    with pytest.raises(ValueError, match='image has a side of 32,767 pixels or more: make it sm'):
        align.crop(np.zeros((70, 32767), np.uint8), align.TARGET)
    align.crop(np.zeros((70, 32766), np.uint8), align.TARGET)
