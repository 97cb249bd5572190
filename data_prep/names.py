"""Names that are written in several ways: one person under two spellings would be two people, in
training and test at once, and one expression two classes."""
import collections
import decimal
import re
import unicodedata

# What other sets and programs call the eight expressions, two letters as in JAFFE and KDEF. A name
# that is not here stays as it is.
SPELLINGS = {
    'anger': ('angry', 'an'),
    'contempt': ('contemptuous', ),
    'disgust': ('disgusted', 'di'),
    'fear': ('fearful', 'afraid', 'fe', 'af'),
    'happy': ('happiness', 'ha'),
    'neutral': ('neutrality', 'ne'),
    'sadness': ('sad', 'sa'),
    'surprise': ('surprised', 'suprise', 'su'),
}
LONGEST = 100  # letters of an expression's name, which is drawn in one line
KNOWN = {spelling: name for name, others in SPELLINGS.items() for spelling in (name, *others)}


def expression(name):
    """The project's name of an expression, for any known spelling of it; another name in lower
    case, else as it is."""
    lower = unicodedata.normalize('NFC', name).lower()
    return KNOWN.get(unicodedata.normalize('NFKC', lower), lower)


def core(name):
    """What a name keeps when a spreadsheet or another keyboard has written it: 001, '1, 1.0 and
    1E+00 have the same, P001 and p1, and a letter whose accent is a character of its own."""
    text = unicodedata.normalize('NFKC', unicodedata.normalize('NFKC', name).casefold())
    # Digits of any script, and no apostrophe, by which a spreadsheet knows text from numbers
    text = ''.join(str(unicodedata.digit(sign, sign)) for sign in text).lstrip("'\u2019")
    text = ''.join(text.split())
    if re.fullmatch(r'[0-9]+([.,][0-9]+)?e\+[0-9]{1,2}', text):
        text = f'{decimal.Decimal(text.replace(",", ".")):f}'
    text = re.sub(r'(?<=[0-9])[.,]0+$', '', text)
    return re.sub(r'(?<![0-9])0+(?=[0-9])', '', text)


def check_rounded(names, what, where):
    """SystemExit where a name is a long number of which a spreadsheet has kept the first digits,
    as 2.023E+11, so that several people may have become one."""
    for name in sorted(names):
        found = re.fullmatch(r'([0-9](?:[.,][0-9]+)?)[eE]\+([0-9]{1,3})', name.strip())
        if found and len(re.sub('[.,]', '', found[1])) < int(found[2]) + 1:
            raise SystemExit(f'{where}: {what} {name} is a number that a spreadsheet has '
                             'shortened, so several people may have the same: save that column as '
                             'text.')


def check_spellings(names, what, where):
    """SystemExit where two of the names, which stand `where`, differ in padding, case, an
    apostrophe, a decimal point or Unicode form alone; it names both, and `what` they are, such as
    subjects."""
    alike = collections.defaultdict(set)
    for name in set(names):
        alike[core(name)].add(name)
    twice = sorted(sorted(spellings) for spellings in alike.values() if len(spellings) > 1)
    if twice:
        more = f' (and {len(twice) - 1} more are there so)' if len(twice) > 1 else ''
        raise SystemExit(
            f'{where}: the {what} {" and ".join(map(ascii, twice[0]))} differ only in how they are '
            f'written (padding, case, an apostrophe, a decimal point or Unicode form){more}: write '
            'one of them in one way everywhere, or give two of them names that differ in more.')
