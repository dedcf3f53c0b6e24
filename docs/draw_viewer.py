"""Draw the animation ``viewer.gif``: the episode page, one picture per step, taken by a headless Chromium.

python docs/draw_viewer.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

EPISODES = (("doorkey", 1, 11), ("goto-local", 2, 6))
"""Trained agent, number of the episode on its page, and its steps."""
SIZE = 800, 400
COMPACT = """<style>
:root { color-scheme: light }
.page { padding: 10px 14px !important; max-width: none !important }
.page > h1, .eyebrow, .episode-nav, .legend, .hint, .switch { display: none !important }
.transport, .timeline-panel, .keys { display: none !important }
.scene { grid-template-columns: 262px 178px minmax(0, 1fr) !important; gap: 8px !important }
.module-panel { grid-column: auto !important }
.panel { padding: 8px 10px !important; margin: 0 }
.panel h3 { font-size: 13px !important; margin: 0 0 4px !important }
.mission { font-size: 19px !important; margin: 0 !important }
.modules { grid-template-columns: repeat(5, 1fr) !important; gap: 5px !important; margin-bottom: 8px !important }
.module { padding: 4px !important }
.module-name { font-size: 18px !important }
.module-columns { grid-template-columns: 128px 1fr !important; gap: 10px !important }
.module-columns table { border-spacing: 1px !important }
.module-columns td { height: 22px !important; font-size: 8.5px !important }
.choice { grid-template-columns: 68px 1fr 30px !important; gap: 4px !important }
.choice { padding: 1px 3px !important; font-size: 11px !important }
.choice-number { font-size: 11px !important }
</style></head>"""
CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


def main() -> None:
    frames, durations = [], []
    with tempfile.TemporaryDirectory() as folder:
        for agent, number, steps in EPISODES:
            page = Path(folder) / f"{agent}.html"
            if not page.exists():
                view = [
                    sys.executable,
                    "-m",
                    "metarims.cli",
                    "view",
                    "--agent",
                    agent,
                    "--episodes",
                    "6",
                    "--out",
                    page,
                ]
                subprocess.run(view, check=True)
                page.write_text(page.read_text().replace("</head>", COMPACT, 1))
            for step in range(steps + 1):
                frames.append(picture(page, f"#e={number}&t={step}", Path(folder)))
                durations.append(1200 if step in (0, steps) else 500)
    sheet = Image.new("RGB", (SIZE[0], SIZE[1] * len(frames)))
    for index, frame in enumerate(frames):
        sheet.paste(frame, (0, SIZE[1] * index))
    palette = sheet.quantize(160)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    out = Path(__file__).with_name("viewer.gif")
    first.save(out, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)
    print(f"Wrote {out}: {len(frames)} pictures, {out.stat().st_size // 1024} KiB.")


def picture(page: Path, link: str, folder: Path) -> Image.Image:
    shot = folder / "shot.png"
    options = [f"--user-data-dir={folder}/profile", f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={shot}"]
    subprocess.run([*CHROMIUM, *QUIET, *options, page.as_uri() + link], check=True, capture_output=True)
    with Image.open(shot) as image:
        return image.convert("RGB")


if __name__ == "__main__":
    main()
