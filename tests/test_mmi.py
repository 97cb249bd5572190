import re

import cv2
import drawn
import numpy as np
import pytest
from test_video import CODECS, cut, grey, level, write

from data_prep import align, pictures
from data_prep.sets import mmi

SIX = ('anger', 'disgust', 'fear', 'happy', 'sadness', 'surprise')
LENGTH = 12
DUAL = 'dual view of a person whose frontal half is not known'
REST = np.array([[200, 150], [300, 150], [250, 210], [210, 270], [290, 270]], float)  # a calm face


def session_xml(*tracks):
    body = ''.join(f'<track type="Video" view="{view}"{name}/>' for view, name in tracks)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<session sessionId="1">{body}</session>\n'


def emotion_xml(value):
    tag = '' if value is None else f'<Metatag Name="Emotion" Value="{value}"/>'
    return ('<?xml version="1.0"?>\n'
            f'<Annotation><Metatag Name="Subject" Value="9"/>{tag}</Annotation>\n')


def add(raw, session, name, emotion, view=0, **settings):
    """A session with one video; without a label where emotion is None."""
    folder = raw / 'Sessions' / session
    folder.mkdir(parents=True)
    write(folder / f'{name}.avi', **{'frames': LENGTH, **settings})
    (folder / 'session.xml').write_text(session_xml((view, '')))
    (folder / f'{name}.xml').write_text(emotion_xml(emotion))
    return folder


@pytest.fixture
def raw(tmp_path):
    """Two people, three sessions that can be used, and three that cannot."""
    add(tmp_path, '1767', 'S053-001', 4, codec='XVID')
    add(tmp_path, '900', 'S053-010', 6)
    add(tmp_path, '1841', 'S035-004', 1, size=(720, 576))
    add(tmp_path, '224', 'S099-106', 2, view=2)
    add(tmp_path, '700', 'S021-003', 3, view=1)
    add(tmp_path, '5', 'S001-005', None)
    return tmp_path


def moved(number, path):
    """Where the points of a frame lie: the mouth opens up to frame 7 and closes, and the head moves
    and comes nearer."""
    points = REST.copy()
    points[3:, 1] += 4 * (7 - abs(number - 7))
    return points * (1 + number / 40) + [3 * number, -number]


def found_by(move, no_face=()):
    """A function `detected` that gives move(number, path) for each frame, but no face for the
    numbers in no_face."""
    def detected(paths):
        numbers = {
            path: int(re.search(r'\.avi#(\d+)(@\w+)?$', path).group(1))
            for path in paths
        }
        points = {path: move(numbers[path], path) for path in paths if numbers[path] not in no_face}
        return points, {path: 'no face found' for path in paths if path not in points}, 0
    return detected


def read(raw, frames=3, move=moved, no_face=(), classes=SIX):
    rows, points, report = mmi.read_set(str(raw), classes, frames, found_by(move, no_face))
    assert points is None
    return rows, report


def names(rows):
    return [(row['subject'], row['sequence'], row['frame'], row['expression']) for row in rows]


def frames_of(rows, session):
    return [row['frame'] for row in rows if row['sequence'] == session]


def test_pairs(raw):
    rows, report = read(raw)
    assert names(rows) == [
        (*sequence, frame, expression)
        for *sequence, expression in [('S035', '1841',
                                       'anger'), ('S053', '900',
                                                  'surprise'), ('S053', '1767', 'happy')]
        for frame in (6, 7, 8)
    ]
    assert rows[-1] == {
        'subject': 'S053', 'sequence': '1767', 'frame': 8, 'expression': 'happy',
        'path': 'Sessions/1767/S053-001.avi#8', 'reference': 'Sessions/1767/S053-001.avi#0'
    }
    assert report == {
        'unit': 'sequences', 'found': 6, 'unlabelled': ['Sessions/5'],
        'left_out': [('Sessions/224', DUAL), ('Sessions/700', 'profile view')],
        'note': 'Peak frames: 0 from peaks.csv, 3 by the landmark rule (the frame whose five '
        "points lie farthest from the first frame's)."
    }


def test_rows_name_the_frames_that_are_read(raw):
    """Through pictures.py; the video of 720 x 576 is turned, so that its black left upper quarter
    is at the right."""
    for row in read(raw)[0]:
        for path, number in ((row['path'], row['frame']), (row['reference'], 0)):
            image = pictures.read_grey(str(raw), path)
            assert abs(grey(image) - level(number)) < 6
            turned = row['sequence'] == '1841'
            assert path.endswith('@clockwise') == turned
            assert image.shape == ((720, 576) if turned else (48, 64))
            assert image[:10, -10:].mean() < 8 if turned else image[:10, :10].mean() < 8
            assert pictures.content(str(raw), path)


@pytest.mark.parametrize('person, half', [
    ('S001', 'right'), ('S002', 'right'), ('S017', 'right'), ('S003', 'left'), ('S005', 'left'),
    ('S006', 'left'), ('S015', 'left'), ('S016', 'left')])
def test_of_a_dual_view_the_frontal_half_is_taken(tmp_path, person, half):
    """As it lies, though it is as high as those that lie on their side."""
    add(tmp_path, '224', f'{person}-106', 2, view=2, size=(720, 576))
    rows, report = read(tmp_path)
    assert report['left_out'] == [] and [row['subject'] for row in rows] == [person] * 3
    for row in rows:
        assert row['path'] == f'Sessions/224/{person}-106.avi#{row["frame"]}@{half}'
        assert row['reference'] == f'Sessions/224/{person}-106.avi#0@{half}'
        image = pictures.read_grey(str(tmp_path), row['path'])
        assert image.shape == (576, 360)
        # what is black is the left upper quarter of the whole
        assert (image[:270].mean() < 8) == (half == 'left')


def test_a_frontal_video_of_the_makers_shows_the_face_on_its_side(tmp_path):
    """A drawn face, lying as in a video of 720 x 576: MTCNN finds it in the picture of the path in
    rows."""
    from data_prep import detect
    image, points = drawn.face(3)
    image = cv2.copyMakeBorder(cv2.resize(image, None, fx=2, fy=2), 120, 88, 80, 80,
                               cv2.BORDER_REPLICATE)
    folder = add(tmp_path, '1', 'S030-001', 4)
    writer = cv2.VideoWriter(str(folder / 'S030-001.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25,
                             (720, 576))
    for _ in range(5):
        writer.write(
            cv2.cvtColor(cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE), cv2.COLOR_GRAY2BGR))
    writer.release()
    rows, _ = read(tmp_path)
    found = detect.faces(pictures.read_grey(str(tmp_path), rows[0]['path']))[0]
    expected = (points + 0.5) * 2 - 0.5 + [80, 120]
    assert np.hypot(*(found - expected).T).max() < 0.17 * np.hypot(*(expected[1] - expected[0]))


@pytest.mark.parametrize('value, name', enumerate(SIX, 1))
def test_label_numbers(tmp_path, value, name):
    add(tmp_path, '1', 'S030-001', value)
    assert {row['expression'] for row in read(tmp_path)[0]} == {name}


@pytest.mark.parametrize('value, reason', [
    (0, "label outside the set: '0', not 1..6"), (7, "label outside the set: '7', not 1..6"),
    (9, "label outside the set: '9', not 1..6"), ('joy', "label outside the set: 'joy', not 1..6"),
    ('1.0', "label outside the set: '1.0', not 1..6"),
    ('\u0664', "label outside the set: '\u0664', not 1..6"),
    (1, 'label outside the set: anger')])
def test_other_labels_are_left_out(tmp_path, value, reason):
    folder = add(tmp_path, '1', 'S030-001', 0)
    (folder / 'S030-001.xml').write_text(emotion_xml(value), encoding='utf-8')
    assert read(tmp_path, classes=SIX[1:])[1]['left_out'] == [('Sessions/1', reason)]


def test_sessions_without_a_label(raw):
    add(raw, '6', 'S001-006', '')
    folder = add(raw, '7', 'S001-007', 4)
    (folder / 'S001-007.xml').rename(folder / 'S001-007-oao_aucs.xml')  # action units only
    add(raw, '8', 'S001-008', None, view=2)
    assert read(raw)[1]['unlabelled'] == [f'Sessions/{session}' for session in (5, 6, 7, 8)]
    assert len(read(raw)[1]['left_out']) == 2


def test_of_two_videos_the_frontal_one(raw):
    folder = raw / 'Sessions' / '900'
    first, second = ' filename="S053-010.avi"', ' filename="S053-011.avi"'
    write(folder / 'S053-011.avi', frames=LENGTH)
    (folder / 'session.xml').write_text(session_xml((1, first), (0, second)))
    paths = [row['path'] for row in read(raw)[0] if row['sequence'] == '900']
    assert paths == [f'Sessions/900/S053-011.avi#{number}' for number in (6, 7, 8)]
    (folder / 'session.xml').write_text(session_xml((0, first), (0, second)))
    assert ('Sessions/900', 'several frontal videos: 2') in read(raw)[1]['left_out']
    (folder / 'session.xml').write_text(session_xml((0, '')))
    assert ('Sessions/900', 'view is not known') in read(raw)[1]['left_out']


def test_namespaces_in_the_xml(raw):
    folder = raw / 'Sessions' / '900'
    for file in (folder / 'session.xml', folder / 'S053-010.xml'):
        text = re.sub('<(session|Annotation)', r'<\1 xmlns="http://example.org/mmi"',
                      file.read_text())
        file.write_text(text)
    assert frames_of(read(raw)[0], '900') == [6, 7, 8]


BOMB = ('<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY e0 "ha">' +
        ''.join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12)) +
        ']>\n<a>&e11;</a>')


@pytest.mark.parametrize('name, content, reason', [
    ('session.xml', None, 'file cannot be read: Sessions/900/session.xml'),
    ('session.xml', b'<session><track view="0"',
     'XML is damaged: Sessions/900/session.xml: unclosed token: '
     'line 1, column 9'),
    ('session.xml', b'',
     'XML is damaged: Sessions/900/session.xml: no element found: line 1, column 0'),
    ('session.xml', b'<session/>', 'view is not known'),
    ('session.xml', b'<session><track view="3"/></session>', 'view is not known'),
    ('S053-010.xml', b'<a>\n<Metatag Name="Emotion"',
     'XML is damaged: Sessions/900/S053-010.xml: unclosed '
     'token: line 2, column 0'),
    ('S053-010.xml', b'\xff\xfe\x00', 'XML is damaged: Sessions/900/S053-010.xml'),
    ('S053-010.xml', b'<?xml version="1.0" encoding="none"?><a/>',
     'XML is damaged: Sessions/900/S053-'),
    ('S053-010.xml', b'<?xml version="1.0" encoding="shift-jis"?><a/>',
     'XML is damaged: Sessions/900/'),
    ('S053-010.xml', BOMB.encode(), 'XML declares a document type: Sessions/900/S053-010.xml'),
    ('S053-010.xml', BOMB.replace('?>', ' encoding="utf-16"?>', 1).encode('utf-16'),
     'XML declares a document type: Sessions/900/S053-010.xml'),
    ('session.xml', BOMB.encode(), 'XML declares a document type: Sessions/900/session.xml'),
    ('S053-011.xml', emotion_xml(1).encode(), "several emotions: ['1', '6']"),
    ('S053-010.avi', None, 'no video'),
    ('S053-010.avi', b'', 'video is damaged or not a video: Sessions/900/S053-010.avi'),
])
def test_a_session_that_cannot_be_used_is_named(raw, name, content, reason):
    file = raw / 'Sessions' / '900' / name
    file.unlink() if content is None else file.write_bytes(content)
    rows, report = read(raw)
    (session, why), = [
        entry for entry in report['left_out'] if entry[1] not in (DUAL, 'profile view')
    ]
    assert session == 'Sessions/900' and why.startswith(reason) and '\n' not in why
    assert {row['sequence'] for row in rows} == {'1767', '1841'}
    assert report['found'] == 6 and report['unlabelled'] == ['Sessions/5']


def test_names(raw):
    add(raw, '11', 'clip', 1)
    add(raw, '12\n', 'S030-002', 1)
    add(raw, '.hidden', 'S030-003', 1)
    add(raw, 'Zoë 3', 'S030-004', 1)
    (raw / 'Sessions' / 'readme.txt').write_text('')
    (raw / 'Sessions' / '900' / '._S053-010.avi').write_bytes(b'')
    (raw / 'Sessions' / '900' / '._S053-010.xml').write_bytes(b'')
    (raw / 'Sessions' / '900' / 'S053\n010.xml').write_bytes(b'')
    rows, report = read(raw)
    assert report['found'] == 9
    assert [entry for entry in report['left_out'] if 'view' not in entry[1]] == [
        ('Sessions/11', 'the name of the video does not tell the person: clip.avi'),
        ('Sessions/12\\n', 'the name holds characters that cannot be printed')]
    assert frames_of(rows, 'Zoë 3') == frames_of(rows, '900') == [6, 7, 8]


@pytest.mark.parametrize('codec', CODECS)
def test_a_video_cut_short_has_the_frames_that_can_be_read(tmp_path, codec):
    add(tmp_path, '1', 'S030-001', 4, codec=codec, size=(320, 240))
    cut(str(tmp_path / 'Sessions/1/S030-001.avi'), 0.7)
    rows, _ = read(tmp_path, frames=None)
    for row in rows:
        pictures.read_grey(str(tmp_path), row['path'])
    assert 3 < len(rows) < 9


@pytest.mark.parametrize('frames, length, peak, expected', [
    (3, 12, 7, [6, 7, 8]), (1, 12, 7, [7]), (2, 12, 7, [6, 7]), (4, 12, 7, [5, 6, 7, 8]),
    (3, 12, 1, [1, 2, 3]), (3, 12, 2, [1, 2, 3]), (3, 12, 11, [9, 10, 11]), (3, 4, 3, [1, 2, 3]),
    (11, 12, 5, list(range(1, 12))), (None, 12, 7, [1, 2, 3, 4, 5, 6, 7]), (None, 12, 1, [1])])
def test_queries_lie_around_the_peak_inside_the_video_after_frame_0(tmp_path, frames, length, peak,
                                                                    expected):
    add(tmp_path, '1', 'S030-001', 4, frames=length)
    (tmp_path / 'peaks.csv').write_text(f'session,frame\n1,{peak}\n')
    rows, _ = read(tmp_path, frames)
    assert frames_of(rows, '1') == expected
    assert {row['reference'] for row in rows} == {'Sessions/1/S030-001.avi#0'}


def test_too_few_frames(tmp_path):
    add(tmp_path, '1', 'S030-001', 4, frames=3)
    assert read(tmp_path)[1]['left_out'] == [('Sessions/1', 'too few frames: 3, at least 4 needed')]
    assert len(read(tmp_path, frames=2)[0]) == 2


def test_peaks_of_the_csv_come_first(raw):
    table = 'session,who,frame\n1767,Ann,3\n1841,Ann,10\n224,Ann,2\n'
    (raw / 'peaks.csv').write_text(table, encoding='utf-8-sig')
    searched = []

    def detected(paths):
        searched.extend(paths)
        return found_by(moved)(paths)
    rows, _, report = mmi.read_set(str(raw), SIX, 3, detected)
    assert frames_of(rows, '1767') == [2, 3, 4] and frames_of(rows, '1841') == [9, 10, 11]
    assert frames_of(rows, '900') == [6, 7, 8]
    assert searched == [f'Sessions/900/S053-010.avi#{number}' for number in range(LENGTH)]
    assert report['note'].startswith('Peak frames: 2 from peaks.csv, 1 by the landmark rule')


@pytest.mark.parametrize('content, sentence', [
    ('session,peak\n1767,3\n', 'line 1: expected the columns session,frame, got session,peak.'),
    ('', 'line 1: expected the columns session,frame, got nothing.'),
    ('session,frame\n900,3\n1768,3\n', "line 3: there is no session '1768' in Sessions."),
    ('session,frame\n\n\n,3\n', "line 4: there is no session '' in Sessions."),
    ('session,frame\n900,3\n1767,4\n900,3\n',
     'line 4: session 900 is there a second time, after line 2'),
    ('session,frame\n900,0\n', "line 2: frame '0' of session 900 is not a whole number above 0"),
    ('session,frame\n900,-1\n', "line 2: frame '-1' of session 900 is not"),
    ('session,frame\n900,3.5\n', "line 2: frame '3.5' of session 900 is not"),
    ('session,frame\n900\n', "line 2: frame '' of session 900 is not"),
    ('session,frame\n900,\u0663\n', "line 2: frame '\u0663' of session 900 is not"),
    ('session,frame\n900,9999999999\n', "line 2: frame '9999999999' of session 900 is not"),
    ('session,frame\n1767,3\n900,12\n',
     'line 3: frame 12 is not in the video, whose last frame is 11.'),
    ('session,frame\n900,\udcff\n', 'cannot be read as peaks'),
])
def test_bad_peaks(raw, content, sentence):
    (raw / 'peaks.csv').write_bytes(content.encode('utf-8', 'surrogateescape'))
    with pytest.raises(SystemExit) as error:
        read(raw)
    said = str(error.value)
    assert said.startswith(str(raw / 'peaks.csv')) and sentence in said and '\n' not in said


def test_neither_movement_nor_size_of_the_head_is_an_expression(tmp_path):
    """Only the mouth counts: it is widest in frame 4, the head is nearest and turned most in the
    last."""
    add(tmp_path, '1', 'S030-001', 4)

    def move(number, path):
        points = REST - REST.mean(0)
        points[3:, 1] += max(0, 12 - 3 * abs(number - 4))
        angle = number / 20
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return (1 + number / 5) * points @ turn.T + [300 + 9 * number, 200]
    assert frames_of(read(tmp_path, 1, move)[0], '1') == [4]


@pytest.mark.parametrize('bad', [{2}, {10}, {11}, {1}, {0}, {3, 10}, {2, 3}, {6}])
def test_a_bad_detection_is_no_peak(tmp_path, bad):
    """Points that are far off, in one frame or two: another face, say, with its eyes and mouth
    elsewhere."""
    add(tmp_path, '1', 'S030-001', 4)
    wrong = REST + [[-60, 40], [50, -30], [0, 50], [-40, 10], [70, -20]]

    def move(number, path):
        return wrong + number if number in bad else moved(number, path)
    aligned = wrong @ align.similarity(wrong, align.TARGET)[:, :2].T  # it would win
    calm = REST @ align.similarity(REST, align.TARGET)[:, :2].T
    peak = moved(7, '') @ align.similarity(moved(7, ''), align.TARGET)[:, :2].T
    distance = [((points - points.mean(0) - calm + calm.mean(0))**2).sum()
                for points in (aligned, peak)]
    assert distance[0] > 2 * distance[1]
    assert frames_of(read(tmp_path, 1, move)[0], '1') == [7]


def test_frames_without_a_face_or_with_no_face_s_points_are_passed_over(tmp_path):
    add(tmp_path, '1', 'S030-001', 4)

    def move(number, path):
        return np.full((5, 2), 7.0) if number == 8 else moved(number, path)
    rows, report = read(tmp_path, 1, move, no_face=(3, 10))
    assert frames_of(rows, '1') == [7] and report['left_out'] == []


def test_a_video_whose_first_frame_has_no_face_is_left_out(raw):
    rows, report = read(raw, no_face=(0,))
    assert rows == [] and ('Sessions/900',
                           'no face found: Sessions/900/S053-010.avi#0') in report['left_out']
    rows, report = read(raw, move=lambda number, path: np.zeros((5, 2)))
    reason = 'the five points of the face coincide: Sessions/900/S053-010.avi#0'
    assert rows == [] and ('Sessions/900', reason) in report['left_out']
    assert {row['frame'] for row in read(raw, 1, no_face={*range(1, LENGTH)} - {5})[0]} == {5}
    rows, report = read(raw, no_face=range(1, LENGTH))
    assert rows == [] and ('Sessions/900',
                           'no face found: in no frame after the first') in report['left_out']
    assert report['note'].startswith('Peak frames: 0 from peaks.csv, 0 by the landmark rule')


def test_a_wrong_folder_says_what_was_expected_and_found(tmp_path):
    (tmp_path / 'photos').mkdir()
    with pytest.raises(SystemExit,
                       match="holds the folder Sessions of MMI, .* this one holds 'photos'"):
        read(tmp_path)
    with pytest.raises(SystemExit, match='none is not a folder: RAW must name one'):
        read(tmp_path / 'none')
    (tmp_path / 'Sessions').mkdir()
    with pytest.raises(SystemExit, match='this one holds .*Sessions'):
        read(tmp_path)
