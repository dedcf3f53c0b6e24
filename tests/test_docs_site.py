"""The documentation as a site: it builds without a warning, no link downloads a file, no page scrolls sideways."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
WIDTHS = (360, 390, 768, 1366, 1920)
MEASURE = """<body><script>
const measure = (page, width) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.onload = () => {
    const {scrollWidth, clientWidth} = frame.contentDocument.documentElement;
    frame.remove();
    done([page, width, scrollWidth - clientWidth]);
  };
  frame.src = page;
  document.body.append(frame);
});
(async () => {
  const found = [];
  for (const page of PAGES) for (const width of WIDTHS) found.push(await measure(page, width));
  document.body.textContent = "MEASURED" + JSON.stringify(found) + "END";
})();
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages."""
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    out = tmp_path_factory.mktemp("site") / "html"
    build = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "docs", str(out)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def pages(site):
    """All pages but those of source code, which are alike."""
    found = (path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html")))
    return [page for page in found if not page.startswith("_modules/")]


def test_links_lead_to_pages_of_the_site(site):
    for page in pages(site):
        assert not re.search(r'class="[^"]*\bdownload\b', (site / page).read_text()), page
        for link in re.findall(r'<a [^>]*href="([^"#?]+)', (site / page).read_text()):
            assert re.match(r"\w+:", link) or link.endswith((".html", "/", ".svg")), (page, link)
    assert not (site / "_downloads").exists()


def test_no_page_scrolls_sideways(site, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed on this machine")
    measured_pages = pages(site)
    program = MEASURE.replace("PAGES", json.dumps(measured_pages)).replace("WIDTHS", json.dumps(WIDTHS))
    (site / "measure.html").write_text(program)
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        options += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}", "--dump-dom"]
        address = f"http://127.0.0.1:{server.server_port}/measure.html"
        options += ["--timeout=240000", "--virtual-time-budget=1000000"]
        shown = subprocess.run([chromium, *options, address], capture_output=True, text=True, timeout=280).stdout
        server.shutdown()
    (measured,) = re.findall("MEASURED(.*)END", shown)
    found = json.loads(measured)
    assert len(found) == len(WIDTHS) * len(measured_pages)
    assert [row for row in found if row[2] > 0] == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Print nothing."""
