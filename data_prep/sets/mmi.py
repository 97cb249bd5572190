"""The MMI Facial Expression Database, on disk as its makers ship it: a folder a session,

    Sessions/1767/session.xml     <track view="0">: 0 frontal, 1 profile, 2 dual view, both side by
                                  side
    Sessions/1767/S053-001.avi    the video; S053 is the person
    Sessions/1767/S053-001.xml    <Metatag Name="Emotion" Value="4">: 1 to 6 as EXPRESSIONS; others
                                  are no basic expression; what was recorded for action units has
                                  no such label
    Sessions/1767/S053-001-oao_aucs.xml     action units; not used

The makers' manual is not public. The layout was read from programs on GitHub that read the set, by
Yuedong Chen (folders, labels, which way the videos lie) and by others who look up `view` and
`Emotion` in the XML. They agree that the frontal videos of 720 x 576 show the head lying on its
side, to be turned clockwise, and that the few of 640 x 480 are upright. Those that show two views
at once lie upright, whatever their height, and which half is the frontal view depends on the
person; session.xml does not tell (FRONTAL_HALF).

A video goes from neutral over the expression to neutral, and the makers do not say where the peak
is. It is taken from peaks.csv beside Sessions, where somebody wrote one,

    session,frame
    1767,31

(frames from 0), else found by the five points of the face, see peak_of.
"""
import os
import re
import xml.etree.ElementTree as ET

from tqdm import tqdm

from data_prep import align, video
from data_prep.folds import ascending, read_columns
from data_prep.sets.layout import visible, wrong_folder

SESSIONS, SESSION, PEAKS = 'Sessions', 'session.xml', 'peaks.csv'
# By MMI's number, 1 to 6.
EXPRESSIONS = ('anger', 'disgust', 'fear', 'happy', 'sadness', 'surprise')
VIEWS = {'0': 'frontal view', '1': 'profile view',
         '2': 'dual view of a person whose frontal half is not known'}
ON_ITS_SIDE = 576  # height in pixels of the frontal videos that are to be turned
# Of a dual view. As in Yuedong Chen's programs (donydchen/causal_emotion on GitHub); another reader
# of the set, who names the half with the profile, has the same for all but S006 and S017.
FRONTAL_HALF = {**dict.fromkeys(('S001', 'S002', 'S017'), 'right'),
                **dict.fromkeys(('S003', 'S005', 'S006', 'S015', 'S016'), 'left')}
# Frames of a median over time, against a bad detection, also in the first or last frame.
STEADY = 5


def read_set(raw, classes, frames, detected):
    """The pairs of MMI in folder `raw`, of the sessions with a frontal view and an expression:
    query = each of the `frames` frames around the peak, inside the video and after its first frame
    (None: every frame after the first up to the peak), reference = the first frame.

    detected(paths) gives ({path: 5 x 2 points}, {path: reason}, ...) of pictures; it is called
    once, with every frame of the videos that have no row in peaks.csv. A picture's path ends in #31
    for frame 31 of the video, in #31@clockwise where it is to be turned, and in #31@left or
    #31@right where that half of it is the frontal view, see pictures.py.

    Returns (rows, None, report) as ckplus.read_set does, sequence = the session; None stands for
    points yet to be detected. report['note'] says where the peaks are from. SystemExit where raw is
    not MMI, or peaks.csv is not as above.
    """
    sessions = list_sessions(raw)
    given = read_peaks(raw, sessions)
    report = {'unit': 'sequences', 'found': len(sessions), 'unlabelled': [], 'left_out': []}
    found, paths = [], []
    for session in tqdm(sessions, desc='videos', unit='session', ascii=True):
        try:
            sequence = read_session(raw, session, classes, frames)
        except ValueError as error:
            report['left_out'].append((name_of(session), str(error)))
            continue
        if sequence is None:
            report['unlabelled'].append(name_of(session))
            continue
        found.append(sequence)
        if session in given:
            sequence['peak'] = given_peak(raw, given[session], len(sequence['paths']))
        else:
            paths += sequence['paths']

    points, failures, *_ = detected(paths)
    rows, by_rule, by_hand = [], 0, 0
    for sequence in found:
        session, length = sequence['session'], len(sequence['paths'])
        if 'peak' in sequence:
            by_hand += 1
        else:
            try:
                sequence['peak'] = peak_of(sequence['paths'], points, failures)
            except ValueError as error:
                report['left_out'].append((name_of(session), str(error)))
                continue
            by_rule += 1
        for number in queries(sequence['peak'], length, frames):
            rows.append({'subject': sequence['subject'], 'sequence': session, 'frame': number,
                         'expression': sequence['expression'], 'path': sequence['paths'][number],
                         'reference': sequence['paths'][0]})

    report['note'] = (
        f'Peak frames: {by_hand} from {PEAKS}, {by_rule} by the landmark rule (the frame whose '
        "five points lie farthest from the first frame's).")
    report['left_out'].sort(key=lambda item: ascending(item[0]))
    rows.sort(key=lambda row: (ascending(row['subject']), ascending(row['sequence']),
                               row['frame']))
    return rows, None, report


def list_sessions(raw):
    """The names of the folders in Sessions.

    SystemExit, saying what was expected and what is there, where there are none.
    """
    folder = os.path.join(raw, SESSIONS)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    sessions = [name for name in filter(visible, names)
                if os.path.isdir(os.path.join(folder, name))]
    if not sessions:
        raise wrong_folder(raw, f'the folder {SESSIONS} of MMI, with a folder a session')
    return sorted(sessions, key=ascending)


def name_of(session):
    """A session's name for the account, in which nothing may break a line."""
    return f'{SESSIONS}/{session if session.isprintable() else ascii(session)[1:-1]}'


def read_session(raw, session, classes, frames):
    """A dict of a session: session, subject, expression, paths (of every frame of its frontal
    video, from 0); None where it has no label. ValueError with the reason where it cannot be
    used."""
    if not session.isprintable():
        raise ValueError('the name holds characters that cannot be printed')

    folder = os.path.join(SESSIONS, session)
    code = read_emotion(raw, folder)
    if code is None:
        return None
    if code not in map(str, range(1, len(EXPRESSIONS) + 1)):
        raise ValueError(f'label outside the set: {code[:40]!r}, not 1..{len(EXPRESSIONS)}')
    expression = EXPRESSIONS[int(code) - 1]
    if expression not in classes:
        raise ValueError(f'label outside the set: {expression}')

    name, half = frontal_video(raw, folder)
    person = person_of(name)
    if person is None:
        raise ValueError(f'the name of the video does not tell the person: {name}')

    path = os.path.join(folder, name)
    try:
        length = video.count(os.path.join(raw, path))
        lies = not half and video.height(os.path.join(raw, path)) == ON_ITS_SIDE
    except ValueError as error:
        raise ValueError(f'{error}: {path}') from None
    needed = (frames or 1) + 1  # the queries, and the first frame, which is the reference
    if length < needed:
        raise ValueError(f'too few frames: {length}, at least {needed} needed')
    part = f'@{half}' if half else '@clockwise' if lies else ''
    return {'session': session, 'subject': person, 'expression': expression,
            'paths': [f'{path}#{number}{part}' for number in range(length)]}


def person_of(name):
    """The person that the name of a video tells, such as S053; None where it tells none."""
    found = re.fullmatch(r'(S\d+)-\d+\.avi', name)
    return found and found.group(1)


def read_emotion(raw, folder):
    """The emotion's number as text, from the XML beside session.xml; None where there is none.
    ValueError where an XML is damaged, or two disagree."""
    values = set()
    for name in files(raw, folder, '.xml'):
        if name != SESSION and not name.endswith('-oao_aucs.xml'):
            for tag in read_xml(raw, os.path.join(folder, name)).iterfind('.//{*}Metatag'):
                if tag.get('Name') == 'Emotion':
                    values.add(tag.get('Value', '').strip())
    values.discard('')
    if len(values) > 1:
        raise ValueError(f'several emotions: {ascii(sorted(values))[:80]}')
    return values.pop() if values else None


def frontal_video(raw, folder):
    """(file name of the video with the frontal view of a session, the half of it that is that view,
    left or right, else None).

    ValueError where there is none, or more than one. A session has one video as a rule, and one
    view in session.xml: then the track need not name the file.
    """
    tracks = list(read_xml(raw, os.path.join(folder, SESSION)).iterfind('.//{*}track[@view]'))
    videos = files(raw, folder, '.avi')
    if not videos:
        raise ValueError('no video')

    view_of = {track.get('filename'): track.get('view') for track in tracks}
    if len(videos) == len(set(view_of.values())) == 1:
        view_of = {videos[0]: tracks[0].get('view')}

    views = {VIEWS.get(view_of.get(name), 'view is not known') for name in videos}
    frontal = [(name, None) for name in videos if view_of.get(name) == '0']
    frontal = frontal or [(name, FRONTAL_HALF[person_of(name)]) for name in videos
                          if view_of.get(name) == '2' and person_of(name) in FRONTAL_HALF]
    if not frontal:
        raise ValueError(' and '.join(sorted(views)))
    if len(frontal) > 1:
        raise ValueError(f'several frontal videos: {len(frontal)}')
    return frontal[0]


def files(raw, folder, ending):
    """The names of the files in a folder that end so, sorted.

    Those that are not to be printed are passed over.
    """
    names = filter(str.isprintable, filter(visible, os.listdir(os.path.join(raw, folder))))
    return sorted(name for name in names if name.endswith(ending))


def read_xml(raw, path):
    """The root element of an XML file. ValueError where it cannot be read, is damaged, or declares
    a document type: nothing here needs one, and entities declared there can grow without bound."""
    try:
        with open(os.path.join(raw, path), 'rb') as file:
            data = file.read()
    except OSError:
        raise ValueError(f'file cannot be read: {path}') from None
    if b'<!DOCTYPE' in data.replace(b'\0', b''):  # also in UTF-16
        raise ValueError(f'XML declares a document type: {path}')
    try:
        return ET.fromstring(data)
    except (ET.ParseError, LookupError, ValueError) as error:  # also an encoding that is not known
        raise ValueError(f'XML is damaged: {path}: {error}') from None


def read_peaks(raw, sessions):
    """{session: (frame, line)} of peaks.csv; {} where there is none. SystemExit, with the line,
    unless each row gives one of the sessions, once, and a frame after the first."""
    peaks, path = {}, os.path.join(raw, PEAKS)
    if not os.path.exists(path):
        return peaks
    for number, (session, frame) in read_columns(path, ['session', 'frame'], 'peaks'):
        where, session, frame = f'{path}, line {number}', session or '', frame or ''
        if session not in sessions:
            raise SystemExit(f'{where}: there is no session {session!r} in {SESSIONS}.')
        if session in peaks:
            raise SystemExit(f'{where}: session {session} is there a second time, after line '
                             f'{peaks[session][1]}; a session has one peak.')
        if not re.fullmatch('0*[1-9][0-9]{0,8}', frame):
            raise SystemExit(f'{where}: frame {frame[:40]!r} of session {session} is not a whole '
                             'number above 0; frame 0 is the reference.')
        peaks[session] = int(frame), number
    return peaks


def given_peak(raw, peak, length):
    """The frame of an entry of read_peaks.

    SystemExit where a video of `length` frames has no such frame.
    """
    frame, line = peak
    if frame >= length:
        raise SystemExit(
            f'{os.path.join(raw, PEAKS)}, line {line}: frame {frame} is not in the video, whose '
            f'last frame is {length - 1}.')
    return frame


def peak_of(paths, points, failures):
    """The number of the frame whose five points, aligned, lie farthest from those of the first
    frame: the largest sum of squared distances, after a median over STEADY frames of each
    coordinate. Where several lie equally far, as the median makes of a short peak, the middle one
    counts.

    paths: of every frame; points, failures: {path: 5 x 2 points} and {path: reason}. Frames without
    a face are passed over; ValueError where the first has none, or all others.
    """
    # Aligned first: a head that moves or comes nearer is no expression.
    numbers, aligned = [], []
    for number, path in enumerate(paths):
        try:
            matrix = align.similarity(points[path], align.TARGET)
        except (KeyError, ValueError) as error:
            if number == 0:
                raise ValueError(f'{failures.get(path, error)}: {path}') from None
            continue
        numbers.append(number)
        aligned.append(points[path] @ matrix[:, :2].T + matrix[:, 2])
    if len(numbers) < 2:
        raise ValueError('no face found: in no frame after the first')

    from scipy import ndimage  # here, or every program would start later for it
    steady = ndimage.median_filter(aligned, size=(STEADY, 1, 1), mode='mirror')
    distance = ((steady - steady[0]) ** 2).sum((1, 2))
    far = distance[1:].max() * (1 - 1e-9)  # what differs by rounding alone is as far
    farthest = [number for number, own in zip(numbers[1:], distance[1:]) if own >= far]
    return farthest[len(farthest) // 2]


def queries(peak, length, frames):
    """The numbers of the query frames, see read_set."""
    if frames is None:
        return range(1, peak + 1)
    start = min(max(peak - frames // 2, 1), length - frames)
    return range(start, start + frames)
