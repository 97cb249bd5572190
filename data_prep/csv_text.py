"""CSVs as people's spreadsheets save them: in another encoding, with other separators."""
import codecs
import csv

SEPARATORS = {';': 'semicolons', '\t': 'tabs', '|': 'vertical bars'}
# The longer mark first, as the shorter one is its beginning.
MARKS = {codecs.BOM_UTF32_LE: 'UTF-32', codecs.BOM_UTF32_BE: 'UTF-32',
         codecs.BOM_UTF16_LE: 'UTF-16', codecs.BOM_UTF16_BE: 'UTF-16'}


def decode(data):
    """The text of a CSV's bytes, without a byte order mark; ValueError, with the line and the
    encoding where that is known, unless it is in UTF-8."""
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), None)
    # Without a mark every second byte of plain text in UTF-16 is 0, which is valid UTF-8.
    if encoding is None and data[:200].count(0) > len(data[:200]) // 3:
        encoding = 'UTF-16'
    line = 1
    if encoding is None:
        try:
            return data.decode('utf-8-sig')
        except UnicodeDecodeError as error:
            line = len(data[:error.start + 1].splitlines())
    which = f', which is in {encoding},' if encoding else ''
    raise ValueError(f'line {line}: this is not UTF-8: save the table{which} as CSV in UTF-8')


def tell_separator(header, columns):
    """': the cells ...' for a header line whose cells are the wanted columns and more, but are not
    separated by commas; '' for any other."""
    for separator, name in SEPARATORS.items():
        cells = next(csv.reader([header], delimiter=separator), [])
        if {name.lower() for name in columns} <= {cell.strip().lower() for cell in cells}:
            return f': the cells are separated by {name}, so save the table with commas'
    return ''
