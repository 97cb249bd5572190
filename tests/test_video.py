import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from data_prep import video, workers

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CODECS = ['MJPG', 'XVID']  # every frame by itself; inter-coded, as MMI's are


def level(number):
    """The grey of frame `number` of a test video."""
    return 20 + number * 37 % 200


def write(path, frames=12, codec='MJPG', size=(64, 48)):
    """A video whose frames tell their number by their grey; the left upper quarter is black."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, size)
    assert writer.isOpened()
    for number in range(frames):
        image = np.full((size[1], size[0], 3), level(number), np.uint8)
        image[:size[1] // 2, :size[0] // 2] = 0
        writer.write(image)
    writer.release()
    return str(path)


def cut(path, part):
    """Cuts a file short."""
    os.truncate(path, int(os.path.getsize(path) * part))
    return path


def grey(image):
    return image[-16:, -16:].mean()


@pytest.mark.parametrize('codec', CODECS)
def test_frames_by_number(tmp_path, codec):
    path = write(tmp_path / 'a b.avi', codec=codec)
    assert video.count(path) == 12 and video.height(path) == 48
    for number in (0, 1, 5, 5, 11, 3, 0):  # ascending, again, and back
        image = video.frame(path, number)
        assert image.dtype == np.uint8 and image.shape == (48, 64)
        assert abs(grey(image) - level(number)) < 4 and image[:20, :28].mean() < 4


def test_turned_clockwise(tmp_path):
    image = video.frame(write(tmp_path / 'a.avi'), 2, 'clockwise')
    assert image.shape == (64, 48)
    assert image[:28, 28:].mean() < 4  # what was left above is right above
    assert abs(image[36:].mean() - level(2)) < 4 and abs(image[:, :20].mean() - level(2)) < 4


def test_half_of_a_frame(tmp_path):
    path = write(tmp_path / 'a.avi')
    whole, left, right = (video.frame(path, 2, part) for part in (None, 'left', 'right'))
    assert left.shape == right.shape == (48, 32)
    assert np.array_equal(np.hstack([left, right]), whole) and not np.array_equal(left, right)


def test_ascending_numbers_are_one_pass(tmp_path, monkeypatch):
    first, second = write(tmp_path / 'a.avi'), write(tmp_path / 'b.avi')
    opened, capture_of = [], video.capture_of
    monkeypatch.setattr(video, 'capture_of', lambda path: opened.append(path) or capture_of(path))
    for path in (first, second):
        for number in range(12):
            video.frame(path, number)
    assert opened == [first, second]
    video.frame(second, 3)
    assert opened == [first, second, second]


def test_processes_do_not_share_an_open_video(tmp_path):
    """Forked while it is open, each process would move the others' position in the file."""
    path = write(tmp_path / 'a.avi', frames=60, codec='XVID')
    video.frame(path, 3)
    jobs = [(path, number) for number in range(60)]
    found = list(workers.run(read_grey_of, jobs, 2, chunk=4, desc='', unit=''))
    assert np.abs(np.subtract(found, [level(number) for number in range(60)])).max() < 6


def read_grey_of(job):
    """The grey of a frame, in a worker process."""
    return grey(video.frame(*job))


def test_an_open_video_is_closed_before_a_fork(tmp_path):
    video.frame(write(tmp_path / 'a.avi'), 3)
    assert video.opened.cache_info().currsize == 1
    child = os.fork()
    if not child:
        os._exit(video.opened.cache_info().currsize)
    assert os.waitpid(child, 0)[1] == 0


def test_a_video_that_ends_early(tmp_path):
    path = write(tmp_path / 'a.avi')
    with pytest.raises(ValueError, match='^video ends early: 12 frames, frame 12 needed$'):
        video.frame(path, 12)
    assert abs(grey(video.frame(path, 4)) - level(4)) < 4


@pytest.mark.parametrize('codec', CODECS)
def test_a_video_that_was_cut_short_says_so_whatever_its_header_says(tmp_path, codec):
    whole = write(tmp_path / 'a.avi', codec=codec, size=(320, 240))
    header = cv2.VideoCapture(whole).get(cv2.CAP_PROP_FRAME_COUNT)
    path = cut(whole, 0.7)
    there = video.count(path)
    assert 0 < there < header == 12
    video.frame(path, there - 1)
    with pytest.raises(ValueError, match='^video ends early'):
        video.frame(path, there)


@pytest.mark.parametrize('function', [video.count, video.height, lambda path: video.frame(path, 0)])
def test_no_video(tmp_path, function):
    for name, content in [('empty.avi', b''), ('noise.avi', bytes(range(256)) * 40)]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match='^video is damaged or not a video$'):
            function(str(tmp_path / name))
    os.mkfifo(tmp_path / 'pipe.avi')
    for name in ('none.avi', '', 'pipe.avi'):
        with pytest.raises(ValueError, match='^video is missing$'):
            function(str(tmp_path / name))


@pytest.mark.parametrize('text', [
    '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n',
    '#EXTM3U\n#EXTINF:9,\n{other}\n', "ffconcat version 1.0\nfile 'other.avi'\n",
    "ffconcat version 1.0\nfile 'list.mp4'\n"])
def test_a_list_of_other_files_is_no_video(tmp_path, text):
    other = write(tmp_path / 'other.avi')
    (tmp_path / 'list.mp4').write_text(text.format(other=other))
    with pytest.raises(ValueError, match='^video is damaged or not a video$'):
        video.count(str(tmp_path / 'list.mp4'))


def test_a_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    write(tmp_path / '12:30.avi')
    monkeypatch.chdir(tmp_path)
    assert video.count('12:30.avi') == 12


def test_a_video_of_too_large_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(video, 'LARGEST', 320 * 240 - 1)
    path = write(tmp_path / 'a.avi', size=(320, 240))
    with pytest.raises(ValueError, match='^video has frames of 320 x 240 pixels, more than the 0 '):
        video.count(path)


def test_a_file_that_is_no_video_is_told_once(tmp_path):
    """By the ValueError alone, and not by each of OpenCV's readers in turn."""
    (tmp_path / 'noise.avi').write_bytes(b'noise')
    program = ('import sys\nfrom data_prep import video\ntry:\n video.count(sys.argv[1])\n'
               'except ValueError as error:\n print(error)')
    said = subprocess.run([sys.executable, '-c', program, str(tmp_path / 'noise.avi')], cwd=ROOT,
                          env={**os.environ, 'PYTHONPATH': '.'}, capture_output=True)
    assert (said.stdout, said.stderr) == (b'video is damaged or not a video\n', b'')
