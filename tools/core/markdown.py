"""Tables as Markdown that is readable as it is, as HTML, and as CSV."""
import collections
import csv
import html
import io
import re

from data_prep import spreadsheet

# rows: a dict a line, all with the same keys; notes: sentences
Table = collections.namedtuple('Table', 'title rows notes')

LEFT = ('run', 'variant', 'method', 'difference of', 'what differs')  # columns of text
SIGNED = ('difference', 'low', 'high', 'balanced difference', 'its low', 'its high')
EMPTY = ('-', '–', 'not run', 'no common run')  # cells without a value
SPECIAL = re.compile(r'([\\`*|<$]|\](?=[(\[:]))')  # what Markdown would take for its own
ESCAPED = re.compile(r'\\([\\`*|<$\]])')


def cell(column, value):
    """A value as text."""
    if value is None:
        return '-'
    if not isinstance(value, float):
        return str(value)
    if column == 'p':
        return '<0.001' if value < 0.001 else f'{value:.3f}'
    if column in SIGNED:
        return f'{value:+.1f}'
    return f'{value:.2f}' if column == 'as published' else f'{value:.1f}'  # as it is printed


def column_of(name):
    """The column for what somebody else named: none that is written in a way of its own."""
    return f'{name} (class)' if name in (*LEFT, *SIGNED, 'p', 'as published') else name


def escape(text):
    """Text that somebody chose, as Markdown on one line."""
    return SPECIAL.sub(r'\\\1', ' '.join(text.split()))


def markdown(table):
    """A Table as Markdown that is aligned as plain text too."""
    columns = list(table.rows[0])
    head = [escape(name) for name in columns]
    body = [[escape(cell(name, row[name])) for name in columns] for row in table.rows]
    # A column of Markdown needs three dashes at least.
    widths = [max(3, *map(len, column)) for column in zip(head, *body)]
    rule = ['-' * width if name in LEFT else '-' * (width - 1) + ':'
            for name, width in zip(columns, widths)]

    lines = []
    for line in (head, rule, *body):
        padded = [text.ljust(width) if name in LEFT else text.rjust(width)
                  for name, text, width in zip(columns, line, widths)]
        lines.append(f'| {" | ".join(padded)} |')
    notes = [f'- {note}' for note in table.notes]
    return '\n'.join([f'## {table.title}', '', *lines, '', *notes, ''])


def as_html(text):
    """The Markdown that `markdown` writes, and lines of text, as HTML: headings a level lower than
    they are, tables, lists, paragraphs. Whatever else stands there is shown as text."""
    parts = []
    for block in re.split(r'\n\s*\n', text.strip()):
        lines = block.strip('\n').split('\n')
        heading = re.fullmatch(r'(#+) (.*)', block)
        if heading:
            level = len(heading[1]) + 1
            parts.append(f'<h{level}>{plain(heading[2])}</h{level}>')
        elif len(lines) > 1 and re.fullmatch(r'\|[-:| ]+\|', lines[1]):
            parts.append(run_rows(split_row(lines[0]), [split_row(line) for line in lines[2:]]))
        elif all(line.startswith('- ') for line in lines):
            items = ''.join(f'<li>{plain(line[2:])}</li>' for line in lines)
            parts.append(f'<ul class="notes">{items}</ul>')
        else:
            parts.append(f'<p>{plain(block)}</p>')
    return '\n'.join(parts)


def run_rows(head, rows):
    """The table of those rows that have a value, as HTML, and the names of the others below it."""
    names = sum(name in LEFT for name in head[:2])  # what the row is of, in one column or two
    there = [row for row in rows if not all(text in EMPTY for text in row[names:])]
    others = ', '.join(html.escape(row[0]) for row in rows if row not in there)
    table = html_table(head, there) if there else ''
    return table + (f'<p class="notes">Not run: {others}.</p>' if others else '')


def split_row(line):
    """The cells of a line of a Markdown table, as they were before `escape`."""
    # A bar that a backslash stands before is text.
    found = re.findall(r'((?:\\.|[^\\|])*)\|', line.strip()[1:])
    return [ESCAPED.sub(r'\1', text.strip()) for text in found]


def plain(text):
    """Markdown of one line as HTML: text in backquotes as code, the rest as it is."""
    parts = re.split(r'(?<!\\)`([^`]*)`', text)
    return ''.join(f'<code>{html.escape(part)}</code>' if i % 2 else
                   html.escape(ESCAPED.sub(r'\1', part)) for i, part in enumerate(parts))


def html_table(head, rows):
    """A table of text cells as HTML, in a box of its own that scrolls where the page is narrow."""
    def line(tag, cells):
        made = []
        for name, value in zip(head, cells):
            text = html.escape(str(value))
            kind = 'text' if name in LEFT else 'none' if value in EMPTY else None
            made.append(f'<{tag} class="{kind}">{text}</{tag}>' if kind else
                        f'<{tag}>{text}</{tag}>')
        return f'<tr>{"".join(made)}</tr>'

    body = '\n'.join(line('td', cells) for cells in rows)
    return (f'<div class="table"><table><thead>{line("th", head)}</thead>\n'
            f'<tbody>\n{body}\n</tbody></table></div>')


def as_csv(tables):
    """Every value that there is, unrounded, one a line: table, row, column, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['table', 'row', 'column', 'value'])
    for table in tables:
        for row in table.rows:
            (_, name), *values = row.items()
            writer.writerows(map(spreadsheet.quote, (table.title, name, column, value))
                             for column, value in values if value is not None)
    return text.getvalue()
