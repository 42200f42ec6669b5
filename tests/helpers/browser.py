"""What a person's browser says of a page: its console and the images that did not load."""

import re
import shutil
import subprocess
from pathlib import Path

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--allow-file-access-from-files", "--virtual-time-budget=20000", "--timeout=60000",
]  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Appended to a copy of the page: what did not load stands in the page's text afterwards.
PROBE = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.getAttribute("src"));
  document.body.setAttribute("data-images", document.images.length);
  document.body.setAttribute("data-broken", broken.join(" "));
});</script>"""


def browser() -> str | None:
    """The browser's command, or None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def open_page(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's document after its scripts ran, and the lines that it wrote to the console."""
    command = [str(browser()), *FLAGS, f"--user-data-dir={profile}", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def broken_images(page: Path, profile: Path) -> tuple[int, list[str]]:
    """How many images a static page shows, and the addresses of those that did not load."""
    probe = page.with_name(f"probe-{page.name}")
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
    try:
        document, _ = open_page(probe, profile)
    finally:
        probe.unlink()
    images, broken = (re.search(rf'data-{name}="([^"]*)"', document) for name in ("images", "broken"))
    assert images is not None, "the page's script did not run"
    assert broken is not None, "the page's script did not run"
    return int(images[1]), broken[1].split()
