"""A bar chart as SVG: readable on light and dark pages, without anything to install."""

from collections.abc import Sequence
from html import escape

__all__ = ["bar_chart"]

_WIDTH, _LABELS, _BAR, _STEP, _TOP = 760, 190, 16, 24, 34


def bar_chart(title: str, unit: str, bars: Sequence[tuple[str, float]], ours: str) -> str:
    """Horizontal bars.

    Args:
        title: Above the bars.
        unit: What the numbers count.
        bars: Names and values, from top to bottom.
        ours: The name that stands out.
    """
    longest = max(value for _, value in bars) or 1.0
    room = _WIDTH - _LABELS - 90
    height = _TOP + _STEP * len(bars) + 6
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'role="img" font-family="sans-serif" font-size="13">'
        ),
        f"<title>{escape(title)}</title>",
        (
            "<style>text{fill:#24292f}.b{fill:#8c959f}.o{fill:#d9730d}"
            "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>"
        ),
        f'<text x="4" y="18" font-weight="bold">{escape(title)}: {escape(unit)}</text>',
    ]
    for index, (name, value) in enumerate(bars):
        top, width = _TOP + _STEP * index, max(1.0, room * value / longest)
        text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        parts += [
            f'<text x="{_LABELS - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>',
            (
                f'<rect class="{"o" if name == ours else "b"}" x="{_LABELS}" y="{top}" '
                f'width="{width:.1f}" height="{_BAR}" rx="2"/>'
            ),
            f'<text x="{_LABELS + width + 6:.1f}" y="{top + 13}">{text}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
