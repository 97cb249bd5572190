"""Draws one grey face from an identity, action units (FACS), a head pose and a light.

Face coordinates: x to the right in the image, y down, origin between the eyes, the pupils 60 units
apart. Action units are an array `aus` of shape (28, 2): aus[number, side], intensity 0..1, side 0
is left in the image.
"""
import functools
import itertools
from types import SimpleNamespace

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

WIDTH, HEIGHT = 208, 256     # of the image, pixels
UNIT = 0.95                  # pixels to one face unit, at pose.scale 1
ANGLE = np.linspace(0, 2 * np.pi, 20, endpoint=False)
SIGN = (-1, 1)               # of x, on side 0 and 1


# ---------------------------------------------------------------- points, curves

@functools.lru_cache(maxsize=None)
def spline_weights(count, closed, steps, derivative=0):
    """(count * steps, count) weights: the cubic spline through `count` points is linear in them."""
    weights = np.eye(count)
    if closed:
        weights = np.vstack([weights, weights[:1]])
    knots = np.arange(len(weights))
    at = np.linspace(0, knots[-1], count * steps, endpoint=not closed)
    return CubicSpline(knots, weights, bc_type='periodic' if closed else 'natural')(at, derivative)


def curve(points, closed=False, steps=6):
    """A smooth curve through points (n, 2): (n * steps, 2)."""
    return spline_weights(len(points), closed, steps) @ np.asarray(points, float)


def ellipse(x, y, across, down, tilt=0.0):
    """Points of an ellipse with half axes `across` and `down`, turned by `tilt` radians."""
    dx, dy = across * np.cos(ANGLE), down * np.sin(ANGLE)
    return np.stack(
        [x + dx * np.cos(tilt) - dy * np.sin(tilt), y + dx * np.sin(tilt) + dy * np.cos(tilt)], 1)


@functools.lru_cache(maxsize=None)
def thickness(count, taper):
    """Relative width along a stroke, (count,): 1 in the middle, smaller to both ends."""
    return np.sin(np.pi * np.linspace(0.04, 0.96, count)) ** taper


def ribbon(points, width, taper=0.6):
    """A stroke along the curve through points, `width` wide in the middle, thinner to its ends."""
    line = curve(points)
    x, y = (spline_weights(len(points), False, 6, 1) @ np.asarray(points, float)).T
    half = width / 2 * thickness(len(line), taper) / (np.sqrt(x * x + y * y) + 1e-9)
    across = np.stack([-y * half, x * half], 1)
    return np.vstack([line + across, (line - across)[::-1]])


def camera(pose):
    """(matrix (3, 2), offset (2,)) that turns, scales and shifts a head's (x, y, z) into pixels."""
    yaw, pitch = np.cos(pose.yaw), np.cos(pose.pitch)
    turned, nodded = np.sin(pose.yaw), np.sin(pose.pitch)
    roll, leaned = UNIT * pose.scale * np.cos(pose.roll), UNIT * pose.scale * np.sin(pose.roll)
    head = np.array([[yaw, -turned * nodded], [0, pitch], [turned, yaw * nodded]])
    offset = np.array([pose.shift[0] + WIDTH / 2, pose.shift[1] + HEIGHT * 0.44])
    return head @ np.array([[roll, leaned], [-leaned, roll]]), offset


def project(points, view, relief=0.0):
    """Face coordinates (n, 2) to pixels, by `view` of camera().

    `relief` lifts them off an ellipsoid head.
    """
    points = np.asarray(points, float)
    square = (points - [0, 5]) ** 2 @ [1 / 78 ** 2, 1 / 130 ** 2]
    z = 62 * np.sqrt(np.maximum(0, 1 - square)) + (relief - 45)
    matrix, offset = view
    return points @ matrix[:2] + z[:, None] * matrix[2] + offset


# ---------------------------------------------------------------- geometry: identity + action units

def brow_points(who, aus, side):
    """Five points of a brow, inner to outer end."""
    sign, au = SIGN[side], aus[:, side]
    t = np.linspace(0, 1, 5)
    begin = 12 + who.brow_gap
    x = begin + min(40 + who.brow_length, 0.84 * who.face_half - begin) * t
    arch = who.brow_arch * np.sin(np.pi * t ** 1.3)
    y = -22 - who.brow_height - arch + who.brow_tilt * (1 - 1.6 * t)
    y += 3 * t ** 2

    # frontalis wins against the corrugator where both pull
    lower = au[4] * (1 - 0.8 * min(1, au[1]))
    inner, outer = (1 - t) ** 1.2, np.sin(np.pi * (0.15 + 0.7 * t))
    y += -10 * au[1] * inner - 10 * au[2] * outer * (0.4 + 0.6 * t)
    y += lower * (10 - 6 * t) + 3 * au[4] * t + 2.5 * au[9] * (1 - t) + 1.0 * au[6] * t
    x -= au[4] * 5 * (1 - t)
    return np.stack([sign * x, y], 1)


def eye_points(who, aus, side):
    """Six points of an eye: outer corner, 2 of the upper lid, inner corner, 2 of the lower lid."""
    sign, au = SIGN[side], aus[:, side]
    half = 14.5 * who.eye_width
    upper = (who.lid_upper + 4.5 * au[5] - 1.8 * au[7] - 1.0 * au[6] - 1.8 * au[9]
             - 1.0 * au[4] * (1 - au[5]))
    lower = who.lid_lower + 0.8 * au[5] - 2.4 * au[7] - 2.8 * au[6] - 1.8 * au[9]
    upper, lower = max(upper, 1.2), max(lower, 0.6)
    # sad lids: the outer half of the upper lid hangs
    droop = 1.5 * au[1] * au[4]
    x = who.eye_apart + half * np.array([1, 0.36, -0.36, -1, -0.36, 0.36])
    y = np.array([-who.eye_tilt, -upper + droop - 0.4 * who.eye_tilt, -upper, 1.5, lower, lower])
    return np.stack([sign * x, y], 1)


def mouth_points(who, aus):
    """Outer (12, 2) and inner (8, 2) lip points in the order of the 68-point scheme."""
    mid = aus.mean(1)
    jaw = 12 * mid[26] + 24 * mid[27]
    gap = max(0, 3.2 * mid[25] + 4.5 * mid[16] + 2.5 * mid[10] + 5.5 * mid[12] * mid[25]
              + 0.85 * jaw - 4 * mid[17] - 4 * mid[24])
    top = who.mouth_y - 4.5 * mid[10] - 3 * mid[9] - 2.5 * mid[17] - 2.0 * mid[12] - 0.10 * jaw
    bottom = top + gap
    press = np.clip(1 - 0.6 * mid[24] - 0.35 * mid[23], 0.25, 1)
    thick_top = who.lip_upper * press * (1 - 0.3 * mid[12] - 0.2 * mid[20] - 0.15 * mid[27])
    thick_low = who.lip_lower * press * (1 - 0.2 * mid[12] - 0.2 * mid[20] + 0.25 * mid[17]
                                         - 0.2 * mid[16])

    # Half a mouth a side: each half has its own corner.
    outer, inner = np.zeros((12, 2)), np.zeros((8, 2))
    for side, sign in enumerate(SIGN):
        au = aus[:, side]
        half = (who.mouth_half + 9 * au[12] + 8 * au[20] + 4 * au[14] + 1.5 * au[15]
                - 4 * mid[24] - 3 * mid[23] - 2.5 * mid[17] - 2.5 * mid[26] - 5 * mid[27])
        corner = (who.mouth_y - who.mouth_curve - 11 * au[12] + 8 * au[15] + 2.5 * au[20] -
                  4.5 * au[14] + 0.4 * jaw - 1.0 * au[10])
        power = 1.8 + 1.0 * au[15]

        def at(fraction, middle, corner=corner, half=half, power=power, sign=sign):
            y = middle + (corner - middle) * fraction ** power
            return np.array([sign * half * fraction, y])

        order = (0, 1, 2, 3, 11, 10, 9) if side == 0 else (6, 5, 4, 3, 7, 8, 9)
        up = np.array([0, thick_top])
        low = np.array([0, thick_low])
        outer[list(order)] = [at(1, top), at(0.58, top) - 0.75 * up, at(0.2, top) - up,
                              at(0, top) - 0.85 * up, at(0.7, bottom) + 0.6 * low,
                              at(0.36, bottom) + 0.95 * low, at(0, bottom) + low]
        order = (0, 1, 2, 7, 6) if side == 0 else (4, 3, 2, 5, 6)
        inner[list(order)] = [at(0.93, (top + bottom) / 2), at(0.5, top), at(0, top),
                              at(0.5, bottom), at(0, bottom)]
    return outer, inner


def nose_points(who, aus):
    """Bridge (4, 2) from root to tip and base (5, 2) from left to right."""
    lift = 4.0 * aus[9] + 2.0 * aus[10]
    wide = who.nose_half + 1.8 * aus[9] + 1.2 * aus[12] + 1.0 * aus[10]
    tip = who.nose_y - 1.2 * lift.mean() * 0.5
    bridge = np.stack([np.zeros(4), np.linspace(-1, tip, 4)], 1)
    below = np.array([8, 10.5, 11.5, 10.5, 8])
    base = tip + below - lift[[0, 0, 0, 1, 1]] * np.array([1, 0.7, 0.4, 0.7, 1])
    across = np.array([-wide[0], -0.5 * wide[0], 0, 0.5 * wide[1], wide[1]])
    return bridge, np.stack([across, base], 1)


def jaw_points(who, aus):
    """The 17 points of the jaw, from ear to ear by the chin."""
    mid = aus.mean(1)
    drop = 11 * mid[26] + 22 * mid[27] + 1.5 * mid[25]
    angle = np.linspace(0, np.pi, 17)
    x = -who.face_half * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** who.jaw_square
    down = np.sin(angle) ** who.chin_point
    return np.stack(
        [x * (1 - 0.03 * mid[27] * down), -8 + (who.chin_y + 8) * down + drop * down**2], 1)


def geometry(who, aus):
    """All features of a face in face coordinates: a namespace of arrays, pairs (left, right)."""
    outer, inner = mouth_points(who, aus)
    bridge, base = nose_points(who, aus)
    return SimpleNamespace(jaw=jaw_points(who, aus),
                           brows=[brow_points(who, aus, side) for side in (0, 1)],
                           eyes=[eye_points(who, aus, side) for side in (0, 1)],
                           bridge=bridge, base=base, outer=outer, inner=inner)


def landmarks(shape, pose):
    """The 68 points (iBUG / Multi-PIE order) of a geometry in pixels of the image: (68, 2)."""
    relief = np.zeros(68)
    relief[27:36] = [4, 8, 13, 18, 6, 9, 11, 9, 6]
    points = np.vstack([shape.jaw, shape.brows[0][::-1], shape.brows[1], shape.bridge, shape.base,
                        shape.eyes[0], shape.eyes[1][[3, 2, 1, 0, 5, 4]], shape.outer, shape.inner])
    return project(points, camera(pose), relief)


# ---------------------------------------------------------------- paint

def cover(page, points, sigma, relief, clip=None):
    """(region, mask 0..1) of a polygon in face coordinates with edges softened by sigma face units.

    A tuple of polygons is filled as one: even-odd, so that one inside another is a hole.
    """
    strokes = points if isinstance(points, tuple) else (points,)
    sigma *= UNIT * page.pose.scale
    # a soft mask is drawn small and enlarged: quick
    coarse = 1 if sigma < 2 else 2 if sigma < 4 else 4
    pixels = project(np.concatenate(strokes), page.view, relief)
    (left, top), (right, bottom) = pixels.min(0) - 3 * sigma - 1, pixels.max(0) + 3 * sigma + 2
    left, top = max(0, int(left)), max(0, int(top))
    width, height = min(WIDTH, int(right)) - left, min(HEIGHT, int(bottom)) - top
    if width <= 0 or height <= 0:
        return np.s_[:0, :0], np.zeros((0, 0), np.float32)
    low = np.array([left, top])
    region = np.s_[top:top + height, left:left + width]
    mask = np.zeros((-(-height // coarse), -(-width // coarse)), np.uint8)
    fill(mask, (pixels - low + 0.5) / coarse - 0.5, [len(stroke) for stroke in strokes])
    if sigma:
        mask = cv2.GaussianBlur(mask, (0, 0), sigma / coarse)
    if coarse > 1:
        mask = cv2.resize(mask, None, fx=coarse, fy=coarse)[:height, :width]
    if clip is not None:
        inside = np.zeros(mask.shape, np.uint8)
        fill(inside, project(clip, page.view, relief) - low, [len(clip)])
        mask = cv2.multiply(mask, inside, scale=1 / 255)
    return region, mask.astype(np.float32) * np.float32(1 / 255)


def fill(mask, pixels, lengths):
    """Fills antialiased polygons, sub-pixel exact, into a uint8 mask.

    pixels holds one after the other.
    """
    pixels = np.rint(pixels * 16).astype(np.int32)
    ends = itertools.accumulate(lengths)
    cv2.fillPoly(mask, [pixels[end - length:end] for end, length in zip(ends, lengths)], 255,
                 cv2.LINE_AA, 4)


def paint(page, points, grey, sigma=0.0, alpha=1.0, relief=0.0, clip=None):
    """Covers a polygon with grey (a number, or an image of the canvas' size)."""
    region, mask = cover(page, points, sigma, relief, clip)
    colour = grey[region] if isinstance(grey, np.ndarray) else np.float32(grey)
    page.canvas[region] += np.float32(alpha) * mask * (colour - page.canvas[region])


def shade(page, points, amount, sigma, relief=0.0, clip=None):
    """Makes a soft polygon darker (amount < 0) or lighter (> 0), by that part."""
    if abs(amount) < 0.01:
        return
    region, mask = cover(page, points, sigma, relief, clip)
    page.canvas[region] *= 1 + np.float32(amount) * mask


def on_page(page, texture):
    """A texture that moves with the face, its centre between the eyes, laid on the canvas."""
    cos, sin = np.array([np.cos(page.pose.roll), np.sin(page.pose.roll)]) * page.pose.scale
    centre = project([[0, 0]], page.view)[0]
    middle = np.array(texture.shape[::-1]) / 2
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.column_stack([turn, centre - turn @ middle])
    size = page.canvas.shape[::-1]
    return cv2.warpAffine(texture, matrix, size, flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REFLECT)


# ---------------------------------------------------------------- parts of the picture

def skull(shape, who, grow=0.0):
    """The outline of the whole head, `grow` units larger: jaw below, an ellipse above."""
    angle = np.linspace(np.pi, 2 * np.pi, 15)[1:-1]
    top = np.stack([-np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.8 * (who.face_half + grow),
                    -8 + np.sin(angle) * (who.skull_height + grow)], 1)
    grown = shape.jaw * [1 + grow / 80, 1]
    return np.vstack([grown, top])


def draw_behind(page, shape, who):
    """Hair behind the head, neck, clothes, ears."""
    if who.hair_length > 0:
        wide = who.face_half + who.hair_volume + 6
        points = [[-wide * 0.8, -70], [0, -who.skull_height - 12 - who.hair_volume],
                  [wide * 0.8, -70], [wide + 4, 0], [wide + 3, who.hair_length],
                  [0, who.hair_length + 12], [-wide - 3, who.hair_length], [-wide - 4, 0]]
        paint(page, curve(points, closed=True), page.hair * np.float32(0.8), 1.2)
    neck = who.face_half * 0.68
    chin = shape.jaw[8, 1]
    throat = [[-neck, 40], [neck, 40], [neck, 135], [neck + 12, 170], [-neck - 12, 170],
              [-neck, 135]]
    paint(page, throat, who.tone * 0.82, 1)
    shade(page, ellipse(0, chin - 4, neck * 1.1, 20), -0.35, 7)

    clothes = [[-130, 185], [-95, 138], [-neck - 2, 122], [0, 140 + who.collar], [neck + 2, 122],
               [95, 138], [130, 185], [0, 220]]
    paint(page, curve(clothes, closed=True), who.cloth, 0.8)
    if who.hair_length < 25:
        for sign in SIGN:
            paint(page, ellipse(sign * (who.face_half + 3), 10, 8, 17, sign * 0.15), who.tone * 0.9,
                  0.5)
            shade(page, ellipse(sign * (who.face_half + 4), 10, 4, 10, sign * 0.15), -0.3, 2)


def draw_skin(page, shape, who, aus):
    """The head, and everything that is a soft change of light on the skin."""
    head = curve(skull(shape, who), closed=True, steps=3)
    paint(page, head, page.skin, 0.5)
    for side in (0, 1):
        draw_relief(page, shape, who, side, aus, head)
        draw_under_eye(page, shape, who, side, aus)
        draw_nasolabial_fold(page, shape, who, side, aus)
        draw_mouth_corner(page, shape, who, side, aus)
        draw_crows_feet(page, shape, who, side, aus)
        draw_frown(page, shape, who, side, aus)
        draw_nose_wrinkles(page, side, aus)
        draw_forehead_lines(page, shape, who, side, aus)
        draw_hollow_cheek(page, side, aus)
    draw_middle_line(page, shape, aus)
    if who.moles:
        shade(page, tuple(ellipse(x, y, size, size) for x, y, size in who.moles), -0.55, 0.4,
              clip=head)


def draw_relief(page, shape, who, side, aus, head):
    """Eye socket, side of the nose, temple, and the cheek that a smile raises."""
    sign, au = SIGN[side], aus[:, side]
    lit = 0.5 + 0.5 * sign * np.clip(page.light.side, -1, 1)  # 1: this side faces the lamp
    wing_y = shape.base[2, 1]
    shade(page, ellipse(sign * who.eye_apart, -3, 20, 11), -0.16 * who.socket, 5, clip=head)
    shade(page, ellipse(sign * 14, -6, 6, 10), -0.18 * who.socket, 4)
    beside_nose = [[sign * 9, -2], [sign * 8, 15], [sign * 11, wing_y - 6]]
    shade(page, ribbon(beside_nose, 7), -0.26 + 0.2 * lit, 2.5, 6)
    shade(page, ellipse(sign * (who.face_half - 4), 45, 10, 45), -0.14 + 0.1 * lit, 8, clip=head)

    puff = 0.6 * au[6] + 0.5 * au[12]
    shade(page, ellipse(sign * 40, 34 - 6 * puff, 15, 11), 0.07 + 0.16 * puff, 6)


def draw_under_eye(page, shape, who, side, aus):
    """The bag below the lower lid, and the furrow of a raised cheek."""
    au = aus[:, side]
    low = shape.eyes[side][[0, 5, 4, 3]] + [0, 3.5]
    shade(page, ribbon(low + [0, 2], 3), -0.10 - 0.14 * who.age - 0.3 * au[6] - 0.15 * au[7], 1.2)


def draw_nasolabial_fold(page, shape, who, side, aus):
    """The fold from the wing of the nose past the corner of the mouth, and the light beside it."""
    sign, au, corner = SIGN[side], aus[:, side], mouth_corner(shape, side)
    fold = (0.10 + 0.22 * who.age + 0.5 * au[12] + 0.45 * au[10] + 0.5 * au[9] + 0.1 * au[6]
            + 0.15 * au[20])
    start = shape.base[0 if side == 0 else 4] + [sign * 2, -4]
    end = corner + [sign * (6 + 3 * au[12]), -2]
    middle = (start + end) / 2 + [sign * (3 + 2 * au[12]), -2]
    dark = [start, middle, end, end + [sign * 0.5, 7]]
    light = [start + [sign * 5, 0], middle + [sign * 6, 0], end + [sign * 5, -2]]
    shade(page, ribbon(dark, 4), -0.65 * min(0.7, fold), 1.6)
    shade(page, ribbon(light, 6), 0.25 * min(0.7, fold), 2.5)


def draw_mouth_corner(page, shape, who, side, aus):
    """A corner of the mouth: its dimple (14), pulled down (15), stretched (20)."""
    sign, au, corner = SIGN[side], aus[:, side], mouth_corner(shape, side)
    shade(page, ellipse(*corner, 4, 3), -0.18 - 0.2 * au[12], 1.6)
    if au[14] > 0.02:
        dent = corner + [sign * 3.5, -1]
        shade(page, ribbon([dent + [-sign, -8], dent + [sign * 2, 0], dent + [-sign, 8]], 4),
              -0.65 * au[14], 1.1)
        shade(page, ellipse(dent[0] + sign * 7, dent[1] - 1, 5, 7), 0.22 * au[14], 2.5)
    droop = 0.12 * who.age + 0.55 * au[15] + 0.2 * au[20]
    shade(page, ribbon([corner + [sign, 1], corner + [sign * 4, 8], corner + [sign * 4, 16]], 4),
          -droop, 1.5)


def draw_crows_feet(page, shape, who, side, aus):
    """Three lines outside of the outer corner of an eye."""
    sign, outer = SIGN[side], shape.eyes[side][0]
    feet = [outer + [[sign * 4, 1 + 4 * tilt], [sign * 9, 1 + 8 * tilt], [sign * 15, 1 + 15 * tilt]]
            for tilt in (-0.5, 0.0, 0.5)]
    shade(page, tuple(ribbon(foot, 1.6) for foot in feet),
          -0.45 * min(1, 0.25 * who.age + aus[6, side]), 0.5)


def draw_frown(page, shape, who, side, aus):
    """The furrow beside the inner end of a brow, and the shadow below that."""
    sign, au, inner = SIGN[side], aus[:, side], shape.brows[side][0]
    furrow = np.stack([sign * np.array([4.5, 4, 5.5]), inner[1] + np.array([-7, 1, 8])], 1)
    shade(page, ribbon(furrow, 2.4), -0.6 * min(1, 0.12 * who.age + au[4]), 0.8)
    shade(page, ellipse(sign * 10, inner[1] + 9, 8, 5), -0.25 * au[4] - 0.1 * au[9], 3)


def draw_nose_wrinkles(page, side, aus):
    """Three lines beside the root of a wrinkled nose (9)."""
    lines = [[3, 9], [8, 5], [13, 7]], [[3, 15], [8, 11], [13, 13]], [[1, -4], [6, -1], [10, -5]]
    shade(page, tuple(ribbon(np.array(line) * [SIGN[side], 1], 2.0) for line in lines),
          -0.5 * aus[9, side], 0.8, 6)


def draw_forehead_lines(page, shape, who, side, aus):
    """Lines over the inner (1) and the outer (2) half of a brow."""
    au, brow = aus[:, side], shape.brows[side]
    rows = [brow * [0.95, 0.5] + [0, brow[:, 1].mean() * 0.5 - rise] for rise in (15, 24, 33)]
    shade(page, tuple(ribbon([[0, row[0, 1] + 1], row[0], row[1]], 2.6, 0.3) for row in rows),
          -0.40 * min(1, 0.15 * who.age + 0.9 * au[1]), 0.8)
    shade(page, tuple(ribbon(row[1:], 2.6) for row in rows),
          -0.40 * min(1, 0.1 * who.age + 0.9 * au[2]), 0.8)


def draw_hollow_cheek(page, side, aus):
    """The cheek that an open jaw (26, 27) hollows."""
    mid = aus.mean(1)
    shade(page, ellipse(SIGN[side] * 44, 62, 8, 20), -0.22 * (mid[27] + 0.5 * mid[26]), 5)


def draw_middle_line(page, shape, aus):
    """Bridge of the nose, shadow under the lips, chin with its dents (17), philtrum."""
    raised = aus.mean(1)[17]
    shade(page, ellipse(0, 14, 3, 20), 0.14, 2.5, 10)

    under = shape.outer[9, 1] + 5
    boss = (under + shape.jaw[8, 1]) / 2
    shade(page, ellipse(0, under, 13, 3), -0.25 - 0.2 * raised, 2.2)
    shade(page, ellipse(0, boss + 2, 12, 8), 0.08 + 0.16 * raised, 4)
    dents = tuple(ellipse(x, boss + y, 1.6, 1.6)
                  for x, y in ((-7, -1), (0, 2), (7, -1), (-3, 5), (4, 6)))
    shade(page, dents, -0.4 * raised, 1.3)

    above, below = shape.base[2, 1] + 3, shape.outer[3, 1]
    shade(page, [[-2, above], [2, above], [3, below], [-3, below]], -0.12, 1.2)
    shade(page, ellipse(0, -45, 30, 14), 0.05, 9)  # the forehead's own light


def mouth_corner(shape, side):
    """The corner of the mouth on one side."""
    return shape.outer[0 if side == 0 else 6]


def draw_nose(page, shape, who):
    """Tip, wings, nostrils."""
    base, tip = shape.base, shape.bridge[3]
    shade(page, ellipse(tip[0], tip[1] - 1, 4.5, 4), 0.20, 2, 16)
    shade(page, ellipse(0, base[2, 1] + 2, abs(base[4, 0]) * 0.9, 2.5), -0.25, 2, 6)
    for side, sign in enumerate(SIGN):
        wing = base[0 if side == 0 else 4]
        edge = [wing + [-sign * 1.5, -9], wing + [sign * 1.0, -4], wing + [-sign * 1, 1],
                wing + [-sign * 5, 1.5]]
        shade(page, ribbon(edge, 2.2), -0.45, 0.8, 6)
        hole = base[1 if side == 0 else 3]
        paint(page, ellipse(hole[0] * 1.05, hole[1] - 0.5, 0.26 * who.nose_half, 1.7, sign * -0.25),
              who.tone * 0.28, 0.6, 0.85, 8)


def draw_eye(page, shape, who, side, gaze):
    """White, iris, pupil, highlight, lids and lashes of one eye."""
    sign, eye = SIGN[side], shape.eyes[side]
    ring = curve(eye, closed=True)
    upper, lower = eye[[0, 1, 2, 3]], eye[[3, 4, 5, 0]]
    shade(page, ring, -0.25, 1.5)
    white = min(215, 0.35 * who.tone + 135)
    paint(page, ring, white, 0.3)
    centre = np.array([sign * who.eye_apart, 0.2]) + gaze
    paint(page, ellipse(*centre, who.iris, who.iris), who.iris_grey * 0.6, 0.3, clip=ring)
    paint(page, ellipse(*centre, who.iris * 0.82, who.iris * 0.82), who.iris_grey, 0.5, clip=ring)
    paint(page, ellipse(*centre, who.iris * 0.42, who.iris * 0.42), 12, 0.3, clip=ring)
    shade(page, ribbon(upper + [0, 1], 4), -0.4, 0.8, clip=ring)
    glint = centre + [2 * np.sign(page.light.side), -2]
    paint(page, ellipse(*glint, 1.1, 1.1), 235, 0.3, 0.8, clip=ring)
    paint(page, ribbon(curve(upper)[::4], who.lash, 0.25), who.tone * 0.22, 0.3, 0.9)
    shade(page, ribbon(lower + [0, 0.6], 1.4, 0.4), -0.35, 0.5)
    crease = min(7.0, 0.45 * (-shape.brows[side][2, 1] + eye[1, 1]))
    above = upper - crease * np.array([[0, 0.5], [0, 1], [0, 1], [0, 0.7]])
    shade(page, ribbon(above, 1.6, 0.4), -0.38, 0.5)


def draw_brow(page, shape, who, side):
    """One brow: thick inside, thin outside, with the hair's texture."""
    line = curve(shape.brows[side])
    thick = np.interp(np.linspace(0, 1, len(line)), [0, 0.1, 0.55, 1], [0.6, 1, 0.85, 0.2])
    half = who.brow_thick / 2 * thick[:, None] * [0, 1]
    polygon = np.vstack([line - half, (line + half)[::-1]])
    paint(page, polygon, who.brow_grey, 0.7, who.brow_alpha)


def draw_mouth(page, shape, who, aus):
    """Cavity and teeth where the lips part, then the lips."""
    mid = aus.mean(1)
    outer, inner = shape.outer, shape.inner
    upper = np.vstack([curve(outer[:7]), curve(inner[[4, 3, 2, 1, 0]])])
    lower = np.vstack([curve(outer[[6, 7, 8, 9, 10, 11, 0]]), curve(inner[[0, 7, 6, 5, 4]])])
    hole = np.vstack([curve(inner[:5]), curve(inner[[4, 5, 6, 7, 0]])])
    gap = inner[6, 1] - inner[2, 1]
    lip = who.tone * who.lip_tone

    if gap > 0.3:
        paint(page, hole, 22, 0.3)

        # Lips that are raised (10, 12) or stretched (20) bare the upper teeth; a jaw that only
        # drops (26, 27) bares fewer.
        show = np.clip(0.45 + 0.55 * mid[12] + 0.5 * mid[10] + 0.2 * mid[20] - 0.5 * mid[27]
                       - 0.2 * mid[26], 0, 1)
        edge = curve(inner[:5])
        height = min(gap * 0.75, 8 * show)
        paint(page, np.vstack([edge, edge[::-1] + [0, height]]), who.teeth, 0.5, 0.95, clip=hole)

        if gap > 10:  # the tongue
            paint(page, ellipse(0, inner[6, 1] - 1, 0.5 * who.mouth_half, gap * 0.28), 75, 1.5,
                  clip=hole)
        if mid[16] > 0.05:  # a lower lip that is drawn down bares the lower teeth
            edge = curve(inner[[0, 7, 6, 5, 4]])
            paint(page, np.vstack([edge, edge[::-1] - [0, gap * 0.4]]), who.teeth * 0.9, 0.5, 0.9,
                  clip=hole)

    # The upper lip slopes away from the light above, so it is the darker one.
    paint(page, upper, lip * 0.86, 0.6, 0.9)
    paint(page, lower, lip, 0.7, 0.85)
    shade(page, ellipse(0, (outer[9, 1] + inner[6, 1]) / 2, who.mouth_half * 0.4, 1.6), 0.2, 1.3)
    if gap <= 3:  # the line where closed lips meet
        paint(page, ribbon(inner[:5], 1.7, 0.3), who.tone * 0.25, 0.4, 0.9)


def draw_beard(page, shape, who):
    """Stubble, full beard, goatee, moustache: named in who.beard."""
    jaw, top = shape.jaw, shape.outer[3, 1]
    under = shape.base[2, 1] + 3
    half = who.mouth_half
    full = who.beard == 'full'
    if full or who.beard == 'stubble':
        inside = np.array([[jaw[14, 0] * 0.93, 30], [half + 15, 48], [half + 2, under + 4],
                           [0, under + 1], [-half - 2, under + 4], [-half - 15, 48],
                           [jaw[2, 0] * 0.93, 30]])
        grown = jaw[1:16] * [1.02, 1] + [0, 6 if full else 0]
        paint(page, np.vstack([curve(grown), curve(inside)]), page.hair, 2.5, 0.8 if full else 0.3)
    if who.beard == 'goatee':
        low = shape.outer[9, 1]
        paint(page, curve([[-12, low + 4], [12, low + 4], [17, jaw[8, 1] - 10], [0, jaw[8, 1] + 4],
                           [-17, jaw[8, 1] - 10]], closed=True), page.hair, 1.8, 0.85)
    if who.beard in ('goatee', 'moustache', 'full'):
        left, right = shape.outer[0], shape.outer[6]
        moustache = [left + [-3, 1], [-half * 0.5, under + 2], [0, under + 3],
                     [half * 0.5, under + 2], right + [3, 1], shape.outer[5] + [0, 1], [0, top + 1],
                     shape.outer[1] + [0, 1]]
        paint(page, curve(moustache, closed=True), page.hair, 1.0, 0.85)


def draw_hair(page, shape, who):
    """Hair in front: between the top of the head and the hairline."""
    if who.hairline is None:
        shade(page, ellipse(-10 * page.light.side, -75, 26, 12), 0.16, 8)
        return
    wide = who.face_half
    above = skull(shape, who, who.hair_volume)[:16:-1]
    above = np.vstack([[[-wide - 1, who.sideburn]], above, [[wide + 1, who.sideburn]]])
    line = [[wide - 3, who.sideburn], [wide - 8, -22]]
    line += [[x * wide, y] for x, y in who.hairline[::-1]]
    line += [[-wide + 8, -22], [-wide + 3, who.sideburn]]
    shade(page, np.vstack([above, curve(line) + [0, 5]]), -0.22, 3)
    paint(page, np.vstack([above, curve(line)]), page.hair, 0.8)


def draw_glasses(page, who):
    """Frames, bridge and arms."""
    half, down, grey, thick = who.glasses
    for sign in SIGN:
        middle = np.array([sign * (who.eye_apart + 1), 3])
        ring = np.stack([np.cos(ANGLE), np.sin(ANGLE)], 1)
        ring = np.sign(ring) * np.abs(ring) ** 0.7                 # between a circle and a square
        glass = middle + ring * [half, down]
        shade(page, glass, 0.05, 0.5, 6)
        hole = middle + ring * [half - thick, down - thick]
        paint(page, (curve(glass, closed=True), curve(hole, closed=True)), grey, relief=6)
        paint(page, ribbon([[sign * (who.eye_apart + half), -2], [sign * who.face_half * 0.95, -5],
                            [sign * (who.face_half + 4), -4]], thick * 1.3, 0.2), grey)
    inner = who.eye_apart - half + 1
    paint(page, ribbon([[-inner, 0], [0, -2.5], [inner, 0]], thick * 1.2, 0.1), grey, relief=8)


def lamp(page):
    """The light over the whole picture: lambertian on an ellipsoid head, a factor a pixel."""
    step = 8
    height, width = page.canvas.shape
    rows, columns = np.mgrid[step / 2:height:step, step / 2:width:step]
    centre = project([[0, 5]], page.view)[0]
    scale = UNIT * page.pose.scale
    x, y = (columns - centre[0]) / (95 * scale), (rows - centre[1]) / (150 * scale)
    radius = np.sqrt(x ** 2 + y ** 2)
    shrink = np.minimum(1, 0.97 / np.maximum(radius, 1e-6))
    x, y = x * shrink, y * shrink
    z = np.sqrt(1 - x ** 2 - y ** 2)
    light = page.light
    length = np.sqrt(light.side ** 2 + light.height ** 2 + 1)
    facing = (light.side * x - light.height * y + z) / length
    factor = light.ambient + (1.15 - light.ambient) * np.clip(facing, 0, None)
    return cv2.resize(factor.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def draw_face(who, aus, pose, light, gaze, rng):
    """One picture: uint8 (HEIGHT, WIDTH), and its 68 landmarks (68, 2) in pixels."""
    aus = np.clip(aus, 0, 1.2)
    shape = geometry(who, aus)
    page = SimpleNamespace(canvas=np.ones((HEIGHT, WIDTH), np.float32), pose=pose, light=light,
                           view=camera(pose))

    # The light comes last, over all: the background, divided by it here, stays as it is given.
    shine = lamp(page)
    page.canvas *= light.background / shine
    page.hair = who.hair_grey * on_page(page, who.hair_texture)
    page.skin = who.tone * on_page(page, who.skin_texture)

    # From back to front: each covers what was drawn before.
    draw_behind(page, shape, who)
    draw_skin(page, shape, who, aus)
    draw_nose(page, shape, who)
    draw_beard(page, shape, who)
    draw_mouth(page, shape, who, aus)
    for side in (0, 1):
        draw_eye(page, shape, who, side, gaze)
        draw_brow(page, shape, who, side)
    draw_hair(page, shape, who)
    if who.glasses:
        draw_glasses(page, who)

    # The camera: out of focus first, its noise last, as in a real one.
    image = cv2.GaussianBlur(page.canvas * shine, (0, 0), light.blur) * light.gain
    image += light.noise * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), landmarks(shape, pose)
