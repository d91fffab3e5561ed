"""A page and a text in, the page with that text between its markers out."""

BEGIN = "<!-- benchmarks: begin; written by `python -m benchmarks publish` -->"
END = "<!-- benchmarks: end -->"


def replaced(page: str, text: str) -> str:
    r"""The page with ``text`` in place of what stood between the markers.

    >>> print(replaced(f"a\n{BEGIN}\nold\n{END}\nb", "new").replace(BEGIN, "<").replace(END, ">"))
    a
    <
    <BLANKLINE>
    new
    <BLANKLINE>
    >
    b

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"
