"""Pictures by their path in a data set: a file; or `clip.avi#31`, frame 31 of a video,
`clip.avi#31@clockwise`, the same turned by 90 degrees, `@left` or `@right` that half of it; or
`fer2013.csv#12`, line 12 of a CSV of pixels.

What a file is, is told by its content, whatever its ending. A picture is grey by the weights of
ITU-R BT.601, rounded, whatever the format it came in, and upright as its EXIF says; how transparent
it is does not count.
"""
import functools
import hashlib
import io
import os
import re
import warnings

import cv2
import numpy as np
from PIL import Image

from data_prep import MOST_PIXELS, video
from data_prep.sets import fer2013

# The names by which Pillow knows what OpenCV decodes, and GIF. HEIF stands apart.
FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'TIFF', 'WEBP', 'PPM', 'JPEG2000', 'GIF')
# As their EXIF says; OpenCV turns the others. In a JPEG it finds EXIF only where that comes first.
OURS_TO_TURN = ('JPEG', 'MPO', 'PNG', 'WEBP')
HEIF = re.compile(rb'....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1|avi[fs])', re.DOTALL)
PICTURE = re.compile(rb'\xff\xd8\xff|\x89PNG|BM|II\*\0|MM\0\*|P[1-6]\s|RIFF....WEBP|'
                     rb'\0\0\0\x0cjP  |\xff\x4f\xff\x51|' + HEIF.pattern, re.DOTALL)

# The head of a PGM or PPM, up to its maximum; Pillow reads none whose numbers are text.
MAXIMUM = re.compile(rb'P[56](?:(?:\s|#[^\n]*\n)+(\d+)){3}')

DARK = 16  # of 255: as bright as 12 bits in 16 can be

DAMAGED = 'image is damaged or not an image'
CUT_SHORT = 'image is cut short'
INSIDE = re.compile(r'(.+\.(?:avi|csv))#(\d+)(?:@(clockwise|left|right))?')

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit only warns; MOST_PIXELS stands for it
warnings.filterwarnings('ignore', module='PIL')  # of what it then raises an error for


def read_grey(raw, path):
    """The picture at `path` in folder raw, grey uint8, height x width.

    ValueError where it is missing or damaged.
    """
    inside = INSIDE.fullmatch(path)
    if inside is None:
        return decode(read_bytes(os.path.join(raw, path)))
    file, number = os.path.join(raw, inside.group(1)), int(inside.group(2))
    if file.endswith('.csv'):
        return fer2013.picture(file, number)
    return video.frame(file, number, inside.group(3))


def content(raw, path):
    """A hash of what the picture at `path` in folder raw shows, `h` and 16 hexadecimal digits, so
    that a spreadsheet takes none for a number; None where it cannot be read.

    It is of the bytes of the file, or of a line's pixels, or of a whole video and the number of the
    frame. It costs a reading of the file and 2 ms a megabyte, of a photograph of 400 x 400 in JPEG
    a twentieth of what decoding costs; of a video that once a process.
    """
    inside = INSIDE.fullmatch(path)
    try:
        if inside is None:
            shown = read_bytes(os.path.join(raw, path))
        elif inside.group(1).endswith('.csv'):
            shown = fer2013.pixels(os.path.join(raw, inside.group(1)), int(inside.group(2)))
        else:
            file = os.path.join(raw, inside.group(1))
            frame = path[len(inside.group(1)):]
            shown = hash_of_file(file, os.stat(file).st_mtime_ns) + frame.encode()
    except (OSError, ValueError):
        return None
    return 'h' + hashlib.blake2b(shown, digest_size=8).hexdigest()


@functools.lru_cache(maxsize=8)
def hash_of_file(path, changed):
    """The hash of a file too large to be held as a whole.

    `changed`, its time of change, is there for the cache alone.
    """
    whole = hashlib.blake2b()
    with open(path, 'rb') as file:
        for part in iter(functools.partial(file.read, 1 << 20), b''):
            whole.update(part)
    return whole.digest()


def read_bytes(path):
    """The content of a picture file; ValueError where it cannot be read."""
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise ValueError('image is no file')
    try:
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise ValueError(f'image cannot be read ({error.strerror})') from None


def decode(data):
    """The bytes of a picture file as grey uint8, height x width, upright; ValueError where they are
    none, are cut short, or are more than MOST_PIXELS."""
    try:
        if HEIF.match(data):
            return grey(decode_heif(data))

        header = read_header(data)
        check_readable(data, header.format)
        if header.format == 'GIF' or header.format == 'WEBP' and is_animated(header):
            image = decode_first_frame(header)
        else:
            image = decode_by_opencv(data, header.format)
        if header.mode.startswith('I') and image.max() < DARK:
            raise ValueError('image uses few of its 16 bits, so that all of it is black: save it '
                             'in 8 bits')
        return upright(grey(image), orientation(data, header))
    except (cv2.error, MemoryError):
        raise ValueError(DAMAGED) from None


def read_header(data):
    """What Pillow reads from the head of a picture's bytes, pixels not decoded; ValueError where
    that is no picture, or too large a one."""
    try:
        header = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:  # a damaged head gives Pillow errors of every kind
        raise ValueError(DAMAGED) from None
    check_size(*header.size)
    return header


def check_size(width, height):
    """ValueError where a picture is too large to be decoded."""
    if width * height > MOST_PIXELS:
        raise ValueError(f'image is {width} x {height} pixels, more than the '
                         f'{MOST_PIXELS // 10 ** 6} million that are read: make it smaller')


def check_readable(data, kind):
    """ValueError where a JPEG or PNG ends early, which OpenCV would fill up with grey, or where it
    would take a PGM to be darker than it is.

    What follows its end, such as a video of the same moment, does no harm.
    """
    if is_jpeg(data):
        # The segments before the pixels may hold a small JPEG, end included: they are passed over.
        place = 2
        while data[place:place + 1] == b'\xff' and data[place:place + 2] != b'\xff\xda':
            filled = data[place + 1:place + 2] == b'\xff'  # a segment may have more than one 255
            place += 1 if filled else 2 + int.from_bytes(data[place + 2:place + 4], 'big')
        if data.find(b'\xff\xd9', place) < 0:
            raise ValueError(CUT_SHORT)
    if kind == 'PPM':
        found = MAXIMUM.match(data)
        if found and int(found[1]) not in (255, 65535):  # OpenCV would take it for one of these
            raise ValueError(f'image is a PGM or PPM with a maximum of {int(found[1])}, and those '
                             'with 255 or 65535 are read: save it as PNG')
    if kind == 'PNG' and not any(name == b'IEND' for name, _ in png_chunks(data)):
        raise ValueError(CUT_SHORT)


def is_jpeg(data):
    return data.startswith(b'\xff\xd8\xff')


def png_chunks(data):
    """Yields (name, content) of each chunk of a PNG that is whole."""
    place = 8
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place:place + 4], 'big')
        if end > len(data):
            return
        yield data[place + 4:place + 8], data[place + 8:end - 4]
        place = end


def is_animated(header):
    """Whether an opened file has more than one picture; ValueError where it is damaged."""
    try:
        return getattr(header, 'is_animated', False)
    except Exception:  # as in read_header
        raise ValueError(DAMAGED) from None


def decode_by_opencv(data, kind):
    """A picture as OpenCV has it, uint8, grey or blue, green, red; in formats other than those of
    orientation() upright."""
    # Not in grey: of a PNG's colours libpng would cut off what it should round, 0.7 levels on
    # average, which moves the points that MTCNN finds by pixels.
    flags = cv2.IMREAD_ANYCOLOR
    if kind in OURS_TO_TURN:  # later versions of OpenCV would turn some of them as well
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError(DAMAGED)
    return image


def decode_first_frame(header):
    """The first picture of a GIF or an animation, blue, green, red."""
    try:
        return cv2.cvtColor(np.array(header.convert('RGB')), cv2.COLOR_RGB2BGR)
    except Exception:  # as in read_header
        raise ValueError(DAMAGED) from None


def decode_heif(data):
    """A HEIC or AVIF photograph, blue, green, red and alpha where it has one; already upright."""
    import pillow_heif  # a large library that few need
    try:
        image = pillow_heif.open_heif(data, bgr_mode=True)
    except Exception:  # as in read_header
        raise ValueError(DAMAGED) from None
    check_size(*image.size)
    try:
        pixels = np.array(image)  # a copy: its own pixels are gone with the image
    except ValueError:  # of later versions of numpy
        raise ValueError(DAMAGED) from None
    if pixels.dtype != np.uint8:  # numpy makes an object of what cannot be decoded
        raise ValueError(DAMAGED)
    return pixels


def grey(image):
    """An image as OpenCV has it, grey, BGR or BGRA, as grey."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def orientation(data, header):
    """The EXIF orientation, 1 to 8, of a format that is ours to turn; 1 for none."""
    if header.format not in OURS_TO_TURN:
        return 1
    exif = header.info.get('exif')
    if header.format == 'PNG':  # it may stand behind the pixels, where the header does not reach
        exif = next((part for name, part in png_chunks(data) if name == b'eXIf'), None)
    found = Image.Exif()
    try:
        profile = header.info.get('Raw profile type exif')  # ImageMagick's way: hex digits
        if exif is None and profile:
            exif = bytes.fromhex(''.join(profile.split('\n')[3:]))
        found.load(exif)
        return found.get(0x0112, 1)
    except Exception:  # damaged EXIF is none
        return 1


def upright(image, orientation):
    """An image turned and mirrored as its EXIF orientation asks."""
    # EXIF's eight are these three steps, in this order.
    if orientation in (5, 6, 7, 8):
        image = image.T
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def is_video(path):
    """Whether the file at `path` is to be read as a video: by its first bytes, or, where these are
    neither a picture's nor a video's, by its ending.

    A GIF of one frame is a picture, of several a video. OSError where it cannot be read.
    """
    with open(path, 'rb') as file:
        head = file.read(4096)
    if head.startswith(b'GIF8'):  # only the whole file tells how many frames it has
        with open(path, 'rb') as file:
            try:
                return is_animated(read_header(file.read()))
            except ValueError:  # a damaged picture: decode() says so
                return False
    if PICTURE.match(head):
        return False
    return video.SIGNATURE.match(head) is not None or str(path).lower().endswith(video.ENDINGS)
