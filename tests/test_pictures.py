import cv2
import numpy as np
import pytest

from data_prep import pictures


def test_read_grey(tmp_path):
    grey, colour = tmp_path / 'grey.png', tmp_path / 'colour.png'
    image = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
    cv2.imwrite(str(grey), image[..., 0])
    cv2.imwrite(str(colour), image)
    assert np.array_equal(pictures.read_grey(str(tmp_path), 'grey.png'), image[..., 0])
    luma = image @ np.array([0.114, 0.587, 0.299])  # blue, green, red by ITU-R BT.601
    assert np.abs(pictures.read_grey(str(tmp_path), 'colour.png') - luma).max() < 1.5


def test_read_grey_names_what_is_wrong(tmp_path):
    path = tmp_path / 'face.png'
    with pytest.raises(ValueError, match='No such file'):
        pictures.read_grey(str(tmp_path), 'face.png')
    cv2.imwrite(str(path), np.random.RandomState(0).randint(0, 256, (90, 90)).astype(np.uint8))
    whole = path.read_bytes()
    for damaged in (b'', b'no picture', whole[:30], whole[:len(whole) // 2], whole[:-20]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match='damaged|cut short'):
            pictures.read_grey(str(tmp_path), 'face.png')


def test_a_jpeg_cut_short_is_no_picture(tmp_path):
    """OpenCV alone would fill up what is missing with grey."""
    image = cv2.GaussianBlur(
        np.random.RandomState(0).randint(0, 256, (90, 90)).astype(np.uint8), (0, 0), 2)
    whole = cv2.imencode('.jpg', image)[1].tobytes()
    assert np.abs(pictures.decode(whole) - image.astype(float)).mean() < 3
    # padding does no harm
    assert np.array_equal(pictures.decode(whole + bytes(100)), pictures.decode(whole))
    for length in (len(whole) // 2, len(whole) - 1):
        with pytest.raises(ValueError, match='cut short'):
            pictures.decode(whole[:length])


def test_the_content_decides_not_the_ending(tmp_path):
    image = np.random.RandomState(0).randint(0, 256, (20, 30)).astype(np.uint8)
    for name in ('png called.jpg', 'Zoë #3', 'clip.avi#x.png'):
        (tmp_path / name).write_bytes(cv2.imencode('.png', image)[1].tobytes())
        assert np.array_equal(pictures.read_grey(str(tmp_path), name), image)
        assert pictures.size(str(tmp_path), name) == (tmp_path / name).stat().st_size
    assert pictures.size(str(tmp_path), 'none.png') is None


def test_pictures_inside_a_file(tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'clip.avi').write_bytes(bytes(70))
    for module, name in ((pictures.video, 'frame'), (pictures.fer2013, 'picture')):
        monkeypatch.setattr(module, name, lambda *arguments, name=name: (name, *arguments))
    clip = f'{tmp_path}/a/clip.avi'
    assert pictures.read_grey(str(tmp_path), 'a/clip.avi#31') == ('frame', clip, 31, False)
    assert pictures.read_grey(str(tmp_path), 'a/clip.avi#31@clockwise') == ('frame', clip, 31, True)
    assert pictures.read_grey(str(tmp_path),
                              'fer2013.csv#12') == ('picture', f'{tmp_path}/fer2013.csv', 12)
    assert pictures.size(str(tmp_path), 'a/clip.avi#31') == 70 and pictures.size(
        str(tmp_path), 'b.csv#1') is None
