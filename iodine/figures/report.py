"""A page of figures: PNG files, and one HTML file that holds them all."""

import base64
import contextlib
import html
import os

from iodine.errors import UserError
from iodine.figures.style import render_png

PAGE_WIDTH = 7.5  # inches of a figure that fill the page
STYLE = """
body { max-width: 62rem; margin: 2rem auto 4rem; padding: 0 1rem; color: #222; background: #fff;
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
p { overflow-wrap: anywhere; }
figure { margin: 1rem 0 2rem; } img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: 0.9rem; color: #444; margin-top: 0.5rem; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 1.25rem 0.25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ddd; }
th { color: #444; border-bottom-color: #888; }
th:first-child, td:first-child { text-align: left; }
summary { cursor: pointer; color: #0550ae; font-size: 0.9rem; }
@media (max-width: 40rem) { figure img { width: 100% !important; } }
"""


class Report:
    """Figures with captions, in the order in which they are added.

    As a context it takes back what it has written if it is left by an error.

    Args:
      directory: where to write: a new directory, or an empty one.
      title: of the page.

    Raises:
      UserError: if the directory holds anything or cannot be made.
    """

    def __init__(self, directory, title):
        self._is_new = not os.path.isdir(directory)
        self._written = []
        try:
            os.makedirs(directory, exist_ok=True)
            if os.listdir(directory):
                raise UserError(f"'{directory}' is not empty: remove it, or set out=DIR to another")
        except OSError as error:
            raise UserError(f"cannot write to out={directory}: {error}") from error
        self.directory = directory
        self.title = html.escape(title)
        self.parts = []

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error is None:
            return
        with contextlib.suppress(OSError):
            for path in self._written:
                os.unlink(path)
            if self._is_new:
                os.rmdir(self.directory)

    def add_heading(self, text):
        """Begins a section."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def add_text(self, text):
        """Adds a paragraph."""
        self.parts.append(f"<p>{html.escape(text)}</p>")

    def add_table(self, rows, summary=None):
        """Adds a table.

        Args:
          rows: a list of rows of strings, the head first.
          summary: a line that unfolds the table when it is clicked; None shows it at once.
        """
        lines = []
        for i, row in enumerate(rows):
            tag = "td" if i else "th"
            cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
            lines.append(f"<tr>{cells}</tr>")
        table = '<div class="table"><table>{}</table></div>'.format("\n".join(lines))
        if summary is not None:
            table = f"<details><summary>{html.escape(summary)}</summary>{table}</details>"
        self.parts.append(table)

    def add_figure(self, name, figure, caption):
        """Writes a figure as NAME.png, adds it to the page, closes it and prints a line.

        Args:
          name: of the file, without its ending.
          figure: `matplotlib.figure.Figure`.
          caption: text below it.
        """
        content = render_png(figure)
        self.write_file(f"{name}.png", content)
        encoded = base64.b64encode(content).decode()
        # All figures at one scale, so that their texts are of one size.
        width = min(100.0, 100.0 * figure.get_figwidth() / PAGE_WIDTH)
        self.parts.append(
            f'<figure><img src="data:image/png;base64,{encoded}" alt="{html.escape(name)}" '
            f'style="width:{width:.0f}%"><figcaption>{html.escape(caption)}</figcaption></figure>'
        )
        print(f"wrote {os.path.join(self.directory, name)}.png", flush=True)

    def write(self):
        """Writes the page and returns the path of report.html."""
        body = "\n".join(self.parts)
        page = (
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{self.title}</title>'
            f"<style>{STYLE}</style></head>\n<body>\n<h1>{self.title}</h1>\n{body}\n</body>\n</html>\n"
        )
        # Names of files may be any bytes.
        return self.write_file("report.html", page.encode(errors="replace"))

    def write_file(self, name, content):
        """Writes a file, bytes, beside the page and returns its path."""
        path = os.path.join(self.directory, name)
        try:
            with open(path, "xb") as file:
                self._written.append(path)
                file.write(content)
        except OSError as error:
            raise UserError(f"cannot write '{path}': {error}") from error
        return path
