"""Pictures of what was predicted: face, reference, where the two differ, and probabilities."""
import os

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cm, font_manager
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from data_prep import align
from tools.core import face_lines, output, plots, predictor

TILE, GAP, BAR = 192, 20, 200  # pixels: a face's side, the space between things, the longest bar
MOST = 0.5  # where the scale of |X - X̂r| ends, of 1
BLUE, ORANGE, PALE, INK = plots.COLOURS[1], plots.COLOURS[5], '#C8D3DC', '#222222'
FONT = ImageFont.truetype(font_manager.findfont('DejaVu Sans'), 15)


def draw(path, name, faces):
    """Draws a picture and its Faces: a row each of X, X̂r, their difference, and a bar a class."""
    columns = ['face X', 'reference X̂r', 'difference |X − X̂r|']
    columns = columns[:1 if faces[0].reference is None else 3]

    # The photo is as high as the rows beside it; then come the columns, names, and bars.
    tall = len(faces) * (TILE + GAP) - GAP
    photo = mark(predictor.read_grey(name), faces, (2 * TILE, max(tall, 2 * TILE)))
    left, top = photo.width + 3 * GAP, 2 * GAP
    longest = max(FONT.getsize(name)[0] for name in faces[0].probabilities)
    bars = left + len(columns) * (TILE + GAP) + longest
    height = top + max(photo.height, tall + 2 * GAP) + GAP
    sheet = Image.new('RGB', (bars + BAR + 3 * GAP, height), 'white')
    sheet.paste(photo, (GAP, top))

    pen = ImageDraw.Draw(sheet)
    pen.text((bars, top - 8), 'probability', INK, FONT, 'ls')
    for i, title in enumerate(columns):
        pen.text((left + i * (TILE + GAP), top - 8), title, INK, FONT, 'ls')
    for i, face in enumerate(faces):
        y = top + i * (TILE + GAP)
        pen.text((left - 8, y), str(i + 1), INK, FONT, 'rt')
        draw_row(sheet, face, left, y)
        draw_bars(pen, bars, y, face)
    if faces[0].reference is not None:
        draw_scale(sheet, left + 2 * (TILE + GAP), top + tall + 8)

    # It says whose it is, so that another picture of that name does not take its place.
    info = PngImagePlugin.PngInfo()
    info.add_text(output.INPUT, output.hash_of(name))
    partial = path.with_name(f'.{os.getpid()}.partial')
    try:
        # four times as fast as the default
        sheet.save(partial, 'PNG', compress_level=1, pnginfo=info)
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        partial.unlink(missing_ok=True)


def cannot_write(path, error):
    """The SystemExit to raise where an OSError keeps a drawing from its path."""
    return SystemExit(f'{face_lines.shown(path)} cannot be written ({error.strerror or error}): '
                      'make room, or choose another OUT.')


def draw_row(sheet, face, left, y):
    """X and, where there is one, X̂r and where the two differ."""
    for i, colours in enumerate(colour(face)):
        paste(sheet, colours, left + i * (TILE + GAP), y)


def colour(face):
    """[X] of a Face; with a reference [X, X̂r, their difference]: each 64 x 64 x 4 in [0, 1]."""
    if face.reference is None:
        return [cm.gray(face.face)]
    difference = abs(face.face - face.reference) / MOST
    return [cm.gray(face.face), cm.gray(face.reference), cm.cividis(difference)]


def draw_scale(sheet, x, y):
    """The colours of the difference and what they stand for."""
    pen = ImageDraw.Draw(sheet)
    paste(sheet, cm.cividis(np.linspace(0, 1, TILE)[None]), x, y, height=8)
    pen.text((x, y + 12), '0', INK, FONT, 'lt')
    pen.text((x + TILE, y + 12), f'{MOST} or more', INK, FONT, 'rt')


def paste(sheet, colours, x, y, height=TILE):
    """Puts a picture, as colour() gives it, on the sheet, TILE wide."""
    sheet.paste(to_image(colours).resize((TILE, height), Image.BICUBIC), (x, y))


def to_image(colours):
    """A picture of h x w x 4 in [0, 1], as matplotlib's colour maps give it, as Pillow has it."""
    return Image.fromarray((colours[..., :3] * 255).round().astype(np.uint8))


def mark(photo, faces, room):
    """A grey photo in the size that fits `room`, with the outline of each face's crop."""
    photo = Image.fromarray(photo)
    scale = min(room[0] / photo.width, room[1] / photo.height)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    photo = photo.resize(size, Image.LANCZOS).convert('RGB')
    outline(photo, faces, [f' {number} ' for number in range(1, len(faces) + 1)], scale)
    return photo


def outline(picture, faces, labels, scale=1):
    """Draws the outline of what is cut out for each face, and a label at it, on an RGB picture
    `scale` times the size of the one that was searched."""
    pen = ImageDraw.Draw(picture)
    # The edges of the crop's pixels, whose centres are at whole numbers: hence the halves.
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * align.SIZE - 0.5
    for label, face in zip(labels, faces):
        matrix = align.similarity(align.TARGET, face.points)
        line = ((corners @ matrix[:, :2].T + matrix[:, 2] + 0.5) * scale - 0.5).ravel().tolist()
        pen.line(line, ORANGE, 3)
        pen.text(line[:2], label, ORANGE, FONT, 'ls', stroke_width=2, stroke_fill='black')


def draw_bars(pen, x, y, face):
    """The probabilities as bars in a square TILE high; what is predicted is the dark one."""
    step = TILE / len(face.probabilities)
    for i, (name, value) in enumerate(face.probabilities.items()):
        middle, end = y + (i + 0.5) * step, x + value * BAR
        pen.text((x - 8, middle), name, INK, FONT, 'rm')
        colour = BLUE if name == face.expression else PALE
        pen.rectangle([x, middle - 0.35 * step, end, middle + 0.35 * step], colour)
        pen.text((end + 8, middle), f'{value:.0%}', INK, FONT, 'lm')


def draw_curve(path, source, curve, classes):
    """The probabilities of the largest face over the frames of the video `source`; curve: {frame:
    {class: probability}}, empty where there is no face."""
    figure, axes = plt.subplots(figsize=(10, 4), constrained_layout=True)
    # nan where there is no face, so that the curve has a gap there
    for i, name in enumerate(classes):
        axes.plot(list(curve), [100 * values.get(name, np.nan) for values in curve.values()],
                  label=plots.literal(name), **{**plots.look(i), 'marker': None})
    axes.set(xlabel='frame', ylabel='probability, %', ylim=(0, 100),
             title='The largest face of each frame')
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5))
    try:
        plots.save(figure, path, **{output.INPUT: output.hash_of(source)})
    except OSError as error:
        raise cannot_write(path, error) from None
