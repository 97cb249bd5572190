import io
import os
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from data_prep import detect, pictures
from data_prep.sets import layout

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT / '../shared/cases'
LONDON = ROOT / '../shared/data/london/images'
with_cases = pytest.mark.skipif(not CASES.is_dir(), reason='the cases are not here')


def encoded(image, kind, **options):
    """A Pillow image, or an array of red, green, blue, as the bytes of a file."""
    if kind == 'JPEG2000':  # Pillow does not write it here
        return cv2.imencode('.jp2', np.array(image)[..., ::-1])[1].tobytes()
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def photograph():
    """A smooth picture in colour, 90 x 70 x 3, no side of it like another."""
    noise = np.random.RandomState(0).randint(0, 256, (90, 70, 3)).astype(np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 5), None, 0, 255, cv2.NORM_MINMAX)
    image[:30, :20] = 255
    return image


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
        assert pictures.content(str(tmp_path), name) == pictures.content(
            str(tmp_path), 'png called.jpg')
    assert pictures.content(str(tmp_path), 'none.png') is None


def test_pictures_inside_a_file(tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'clip.avi').write_bytes(bytes(70))
    for module, name in ((pictures.video, 'frame'), (pictures.fer2013, 'picture')):
        monkeypatch.setattr(module, name, lambda *arguments, name=name: (name, *arguments))
    clip = f'{tmp_path}/a/clip.avi'
    assert pictures.read_grey(str(tmp_path), 'a/clip.avi#31') == ('frame', clip, 31, None)
    for part in ('clockwise', 'left', 'right'):
        assert pictures.read_grey(str(tmp_path), f'a/clip.avi#31@{part}') == (
            'frame', clip, 31, part)
    assert pictures.read_grey(str(tmp_path),
                              'fer2013.csv#12') == ('picture', f'{tmp_path}/fer2013.csv', 12)
    contents = {pictures.content(str(tmp_path), f'a/clip.avi#{inside}')
                for inside in ('31', '32', '31@clockwise', '31@left', '31@right')}
    assert len(contents) == 5 and None not in contents
    assert pictures.content(str(tmp_path), 'b.csv#1') is None


# ---------------------------------------------------------------- formats

LOSSLESS = {'PNG': {}, 'BMP': {}, 'TIFF': {}, 'PPM': {}, 'WEBP': dict(lossless=True)}


@pytest.mark.parametrize('kind', LOSSLESS)
def test_the_same_picture_is_the_same_grey_in_every_format(kind):
    """By rounding, as a JPEG's: libpng, left to itself, cuts off, 0.7 levels on average."""
    image = photograph()
    luma = image @ np.array([0.299, 0.587, 0.114])
    found = pictures.decode(encoded(image, kind, **LOSSLESS[kind]))
    assert found.dtype == np.uint8 and found.shape == (90, 70)
    assert np.abs(found - luma).max() < 0.51 and abs((found - luma).mean()) < 0.05


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'WEBP'])
def test_a_picture_that_is_opaque_throughout_is_the_same_with_alpha(kind):
    image = photograph()
    opaque = np.dstack([image, np.full((90, 70), 255, np.uint8)])
    options = LOSSLESS[kind]
    assert np.array_equal(pictures.decode(encoded(opaque, kind, **options)),
                          pictures.decode(encoded(image, kind, **options)))


def test_a_gamma_chunk_changes_nothing():
    data = encoded(photograph(), 'PNG')
    chunk = b'gAMA' + struct.pack('>I', 45455)
    chunk = struct.pack('>I', 4) + chunk + struct.pack('>I', zlib.crc32(chunk))
    assert np.array_equal(pictures.decode(data[:33] + chunk + data[33:]), pictures.decode(data))


@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_how_transparent_a_picture_is_does_not_count(kind):
    image = np.dstack([photograph(), np.full((90, 70), 255, np.uint8)])
    image[:, 40:, 3], image[:, 60:, 3] = 128, 1
    assert np.array_equal(pictures.decode(encoded(image, kind, **LOSSLESS[kind])),
                          pictures.decode(encoded(photograph(), 'PNG')))


def test_palettes_grey_with_alpha_and_16_bits():
    image = Image.fromarray(photograph())
    grey = pictures.decode(encoded(image, 'PNG'))
    palette = image.quantize(256)
    assert np.abs(pictures.decode(encoded(palette, 'PNG')).astype(float) - grey).mean() < 5
    expected = pictures.decode(encoded(palette, 'PNG'))
    palette.info['transparency'] = int(np.array(palette)[50, 50])
    assert np.array_equal(pictures.decode(encoded(palette, 'PNG')), expected)
    with_alpha = Image.merge('LA', [Image.fromarray(grey), Image.new('L', (70, 90), 255)])
    assert np.array_equal(pictures.decode(encoded(with_alpha, 'PNG')), grey)
    dark = cv2.imencode('.png', grey.astype(np.uint16) * 16)[1].tobytes()  # 12 bits of 16
    with pytest.raises(ValueError, match='image uses few of its 16 bits'):
        pictures.decode(dark)
    deep = cv2.imencode('.png', grey.astype(np.uint16) * 257)[1].tobytes()
    assert np.array_equal(pictures.decode(deep), grey)


def test_a_pipe_or_a_device_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / 'p.jpg')
    (tmp_path / 'z.jpg').symlink_to('/dev/zero')
    for name in 'p.jpg', 'z.jpg':
        assert pictures.content(str(tmp_path), name) is None
        with pytest.raises(ValueError, match='image is no file'):
            pictures.read_grey(str(tmp_path), name)


@pytest.mark.skipif(not LONDON.is_dir(), reason='the photographs are not here')
def test_a_photograph_saved_as_another_file_keeps_its_points():
    """Its points moved by up to 3.6 pixels as a PNG."""
    for path in sorted(LONDON.iterdir())[:40:4]:
        image = Image.open(path).convert('RGB')
        expected = detect.faces(pictures.decode(path.read_bytes()))
        opaque = image.convert('RGBA')
        for data in (encoded(image, 'PNG'), encoded(opaque, 'PNG'), encoded(image, 'BMP')):
            assert np.array_equal(detect.faces(pictures.decode(data)), expected)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(kind, orientation):
    """Pillow's own turning is what is right; a photograph has each of the eight orientations."""
    image = Image.fromarray(photograph())
    options = LOSSLESS.get(kind, dict(quality=100, subsampling=0))
    if kind == 'TIFF':
        data = encoded(image, kind, tiffinfo={274: orientation})
    else:
        exif = Image.Exif()
        exif[274] = orientation
        data = encoded(image, kind, exif=exif.tobytes(), **options)
    turn = {2: [Image.FLIP_LEFT_RIGHT], 3: [Image.ROTATE_180], 4: [Image.FLIP_TOP_BOTTOM],
            5: [Image.TRANSPOSE], 6: [Image.ROTATE_270], 7: [Image.TRANSVERSE],
            8: [Image.ROTATE_90]}.get(orientation, [])
    for way in turn:
        image = image.transpose(way)
    expected = pictures.decode(encoded(image, 'PNG')).astype(float)
    found = pictures.decode(data)
    assert found.shape == expected.shape and np.abs(found - expected).mean() < 1


def test_exif_of_a_jpeg_behind_its_xmp():
    image = Image.fromarray(photograph())
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(image, 'JPEG', quality=100, exif=exif.tobytes())
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    first = data[:2] + b'\xff\xe1' + struct.pack('>H', len(xmp) + 2) + xmp + data[2:]
    assert np.array_equal(pictures.decode(first), pictures.decode(data))
    assert pictures.decode(first).shape == (70, 90)


def test_exif_of_a_png_behind_its_pixels_in_a_text_or_damaged():
    image = Image.fromarray(photograph())
    exif = Image.Exif()
    exif[274] = 6
    plain, raw = encoded(image, 'PNG'), exif.tobytes()[6:]
    turned = np.rot90(pictures.decode(plain), -1)

    def chunk(name, content):
        return (struct.pack('>I', len(content)) + name + content +
                struct.pack('>I', zlib.crc32(name + content)))
    late = plain[:-12] + chunk(b'eXIf', raw) + plain[-12:]
    assert np.array_equal(pictures.decode(late), turned)
    digits = (b'Exif\0\0' + raw).hex()
    text = f'\nexif\n{len(digits) // 2:8}\n{digits}\n'.encode()
    text = chunk(b'zTXt', b'Raw profile type exif\0\0' + zlib.compress(text))
    magick = plain[:33] + text + plain[33:]
    assert np.array_equal(pictures.decode(magick), turned)
    for damaged in (raw[:9], b'', b'II*\0' + b'\xff' * 30):
        data = plain[:33] + chunk(b'eXIf', damaged) + plain[33:]
        assert np.array_equal(pictures.decode(data), pictures.decode(plain))


@pytest.mark.parametrize('kind, tolerance', [('HEIF', 3), ('AVIF', 3), ('GIF', 6), ('WEBP', 1)])
def test_what_opencv_does_not_read(kind, tolerance, tmp_path):
    """HEIC and AVIF, and the first picture of a GIF or of an animated WebP."""
    image = Image.fromarray(photograph())
    if kind in ('HEIF', 'AVIF'):
        file = io.BytesIO()
        heif = pillow_heif.from_bytes(mode='RGB', size=image.size, data=image.tobytes())
        heif.save(file, quality=95, format=kind)
        data = file.getvalue()
    else:
        options = {'append_images': [image.rotate(180)], 'save_all': True} if kind == 'WEBP' else {}
        data = encoded(image, kind, **LOSSLESS.get(kind, {}), **options)
    found = pictures.decode(data)
    assert np.abs(found - pictures.decode(encoded(image, 'PNG')).astype(float)).mean() < tolerance
    for length in (30, len(data) // 2, len(data) - 40):
        with pytest.raises(ValueError, match='^image is (damaged|cut short)'):
            pictures.decode(data[:length])


@pytest.mark.parametrize('kind', ['HEIF', 'AVIF'])
def test_no_pixel_of_a_heic_is_read_after_its_memory_was_given_back(kind, tmp_path):
    """In a process of its own, whose memory is not yet as large as to keep what is given back."""
    image = cv2.resize(photograph(), (700, 900), interpolation=cv2.INTER_NEAREST)
    file = tmp_path / 'photo'
    pillow_heif.from_bytes(mode='RGB', size=(700, 900), data=image.tobytes()).save(
        file, quality=50, format=kind)
    program = ('import sys, cv2, numpy, pillow_heif\nfrom data_prep import pictures\n'
               'data = open(sys.argv[1], "rb").read()\n'
               'found = [pictures.decode(data) for _ in range(3)]\n'
               'image = pillow_heif.open_heif(data, bgr_mode=True)\n'
               'right = cv2.cvtColor(numpy.array(image), cv2.COLOR_BGR2GRAY)\n'
               'assert all(numpy.array_equal(each, right) for each in found)')
    assert subprocess.run([sys.executable, '-c', program, str(file)], cwd=ROOT).returncode == 0


@pytest.mark.parametrize('maximum, read', [(255, True), (65535, True), (4095, False), (100, False)])
def test_a_pgm_is_as_bright_as_its_maximum_says_or_no_picture(maximum, read):
    pixels = (np.arange(12).reshape(3, 4) * maximum // 11).astype('>u2' if maximum > 255 else 'u1')
    data = b'P5\n# of a camera\n4 3\n%d\n' % maximum + pixels.tobytes()
    if read:
        assert np.abs(pictures.decode(data) - pixels * (255 / maximum)).max() <= 1
    else:
        with pytest.raises(ValueError, match=f'a PGM or PPM with a maximum of {maximum}, and'):
            pictures.decode(data)


# ---------------------------------------------------------------- what is cut short

def test_what_follows_the_end_of_a_picture_does_no_harm(tmp_path):
    """A video behind a JPEG, as telephones keep one of the same moment, however long."""
    writer = cv2.VideoWriter(str(tmp_path / 'a.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 25, (64, 48))
    for level in range(60):
        writer.write(np.random.RandomState(level).randint(0, 256, (48, 64, 3)).astype(np.uint8))
    writer.release()
    video = (tmp_path / 'a.mp4').read_bytes()
    assert len(video) > 20000
    for kind in ('JPEG', 'PNG'):
        whole = encoded(photograph(), kind)
        expected = pictures.decode(whole)
        assert np.array_equal(pictures.decode(whole + video), expected)
        path = tmp_path / 'photo.MP.jpg'
        path.write_bytes(whole + video)
        assert not pictures.is_video(path)
        with pytest.raises(ValueError, match='cut short'):
            pictures.decode(whole[:len(whole) // 2])


def test_the_end_of_a_small_picture_inside_is_not_the_end():
    """EXIF holds a JPEG of its own, with an end."""
    small = encoded(np.zeros((8, 8), np.uint8), 'JPEG')
    whole = encoded(photograph(), 'JPEG', exif=b'Exif\0\0' + small)
    assert whole.count(b'\xff\xd9') == 2
    assert pictures.decode(whole).shape == (90, 70)
    filled = whole[:2] + b'\xff\xff' + whole[2:]  # as the standard allows
    assert np.array_equal(pictures.decode(filled), pictures.decode(whole))
    with pytest.raises(ValueError, match='cut short'):
        pictures.decode(whole[:-300])


@pytest.mark.parametrize('kind', ['BMP', 'TIFF', 'PPM', 'JPEG2000'])
def test_other_formats_cut_short_are_no_pictures(kind):
    whole = encoded(photograph(), kind)
    for length in (30, len(whole) // 2, len(whole) - 40):
        with pytest.raises(ValueError, match='damaged|cut short'):
            pictures.decode(whole[:length])


# ---------------------------------------------------------------- too large

def bomb(side):
    """A black PNG of side x side pixels, small as a file."""
    def chunk(name, content):
        return (struct.pack('>I', len(content)) + name + content +
                struct.pack('>I', zlib.crc32(name + content)))
    packer, rows = zlib.compressobj(9), []
    for _ in range(side):
        rows.append(packer.compress(bytes(side + 1)))
    rows.append(packer.flush())
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0))
    return (b'\x89PNG\r\n\x1a\n' + header
            + chunk(b'IDAT', b''.join(rows)) + chunk(b'IEND', b''))


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    data = bomb(30000)
    assert len(data) < 1e6
    start, before = time.time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match='^image is 30000 x 30000 pixels, more than the 200 mill'):
        pictures.decode(data)
    assert time.time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20000  # KB
    assert pictures.decode(bomb(3000)).shape == (3000, 3000)

    # the same where only the header says so
    for kind in ('JPEG', 'BMP', 'TIFF', 'PPM'):
        image = np.zeros((7, 9), np.uint8)
        whole = encoded(image, kind)
        if kind == 'JPEG':
            at = whole.index(b'\xff\xc0') + 5
            huge = whole[:at] + struct.pack('>HH', 65000, 65000) + whole[at + 4:]
        elif kind == 'BMP':
            huge = whole[:18] + struct.pack('<II', 65000, 65000) + whole[26:]
        elif kind == 'PPM':
            huge = whole.replace(b'9 7', b'65000 65000')
        else:
            huge = encoded(image, kind, tiffinfo={}).replace(
                struct.pack('<HHII', 256, 4, 1, 9), struct.pack('<HHII', 256, 4, 1, 65000)).replace(
                    struct.pack('<HHII', 257, 4, 1, 7), struct.pack('<HHII', 257, 4, 1, 65000))
        with pytest.raises(ValueError, match='65000 x 65000 pixels'):
            pictures.decode(huge)


def test_too_many_pixels_are_refused_where_a_tiff_has_two_sizes(tmp_path):
    """Pillow takes the last of them, libtiff the first."""
    file, size = tmp_path / 'two.tif', (15000, 14000)
    fields = [(256, 4, 1, size[0]), (256, 4, 1, 5), (257, 4, 1, size[1]), (257, 4, 1, 4),
              (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1),
              (278, 4, 1, size[1]), (279, 4, 1, size[0] * size[1])]
    end = 8 + size[0] * size[1]
    with open(file, 'wb') as out:  # its pixels are a hole
        out.write(b'II*\0' + struct.pack('<I', end))
        out.seek(end)
        out.write(struct.pack('<H', len(fields)))
        out.writelines(struct.pack('<HHII', *field) for field in fields)
        out.write(bytes(4))
    program = ('import sys\nfrom data_prep import pictures\n'
               'print(pictures.read_grey(*sys.argv[1:]).shape)')
    said = subprocess.run([sys.executable, '-c', program, str(tmp_path), 'two.tif'], cwd=ROOT,
                          encoding='utf-8', capture_output=True)
    assert 'ValueError: image is ' in said.stderr and said.stdout == ''


# ---------------------------------------------------------------- what is a video

def test_what_is_a_video_is_told_by_content(tmp_path):
    def told(name, data):
        (tmp_path / name).write_bytes(data)
        return pictures.is_video(tmp_path / name)
    for ending, codec in (('.avi', 'MJPG'), ('.mp4', 'mp4v'), ('.mov', 'mp4v'), ('.mkv', 'XVID')):
        path = tmp_path / f'clip{ending}'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (64, 48))
        assert writer.isOpened()
        for _ in range(3):
            writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.release()
        assert told('called.jpg', path.read_bytes()), ending
    # heads of what is not written here: MPEG, its streams of packets (.ts, .mts), WMV, FLV, Ogg
    packet = b'G' + bytes(187)
    for head in (b'\0\0\1\xba\x44', packet * 4, (bytes(4) + packet) * 4, b'FLV\1\5',
                 b'0&\xb2u\x8ef\xcf\x11', b'OggS\0\2'):
        assert told('called.png', head + bytes(500)), head
    image = Image.fromarray(photograph())
    for kind in (*LOSSLESS, 'JPEG', 'GIF', 'JPEG2000'):
        assert not told('called.mp4', encoded(image, kind)), kind
    assert told('moving.png', encoded(image, 'GIF', save_all=True, append_images=[image.rotate(9)]))
    # of neither, its ending is the last word
    assert told('text.mp4', b'text') and not told('text.jpg', b'text')
    with pytest.raises(OSError):
        pictures.is_video(tmp_path / 'none.mp4')


@pytest.mark.parametrize('kind', [*LOSSLESS, 'JPEG', 'GIF', 'JPEG2000'])
def test_damaged_bytes_are_a_picture_or_a_sentence(kind, tmp_path):
    """Bytes changed at random, most of them in the head, and ends cut off: no other exception."""
    random = np.random.RandomState(0)
    image = Image.fromarray(photograph())
    options = dict(save_all=True, append_images=[image.rotate(9)]) if kind == 'GIF' else {}
    whole = encoded(image, kind, **LOSSLESS.get(kind, {}), **options)
    for _ in range(60):
        data = bytearray(whole)
        for place in random.randint(0, random.choice([120, len(whole)]), random.randint(1, 6)):
            data[place] = random.randint(256)
        data = bytes(data[:random.choice([len(whole), random.randint(len(whole))])])
        (tmp_path / 'picture').write_bytes(data)
        assert pictures.is_video(tmp_path / 'picture') in (True, False)
        try:
            found = pictures.decode(data)
        except ValueError as error:
            assert str(error).startswith('image is ')
        else:
            assert found.dtype == np.uint8 and found.ndim == 2 and found.size


def test_of_several_pages_the_first_is_read():
    image = Image.fromarray(photograph())
    data = encoded(image, 'TIFF', save_all=True, append_images=[image.rotate(180)])
    assert np.array_equal(pictures.decode(data), pictures.decode(encoded(image, 'TIFF')))


def test_every_ending_is_of_one_kind_at_least():
    assert all(ending == ending.lower() and ending[0] == '.' for ending in layout.ENDINGS)
    assert set(layout.ENDINGS) & set(pictures.video.ENDINGS) == {'.gif'}


# ---------------------------------------------------------------- inputs that went wrong

@with_cases
def test_case_motion_photo():
    path = CASES / '06-motion-photo-cut-short/PXL_20260101_120000.MP.jpg'
    assert pictures.decode(path.read_bytes()).shape == (400, 400)
    assert not pictures.is_video(path)


@with_cases
@pytest.mark.parametrize('ending', ['png', 'webp', 'tif'])
def test_case_exif(ending):
    folder = CASES / '07-exif-png-webp'
    expected = pictures.decode((folder / 'b_exif6.jpg').read_bytes())
    found = pictures.decode((folder / f'b_exif6.{ending}').read_bytes())
    assert np.abs(found - expected.astype(float)).mean() < 3
    assert len(detect.faces(found)) == 1


@with_cases
def test_case_heic_and_3gp():
    folder = CASES / '11-heic-avif-3gp-mts'
    assert len(detect.faces(pictures.decode((folder / 'c_plain.heic').read_bytes()))) == 1
    assert not pictures.is_video(folder / 'c_plain.heic')
    assert pictures.is_video(folder / 'plain.3gp')
    assert pictures.video.count(str(folder / 'plain.3gp')) > 3
