"""Writes data/raw/digits.zip, the embedded data set; needs scikit-learn, which nothing else here does.

Run from the project's folder: python data/make_digits.py
"""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TARGET = Path("data/raw/digits.zip")
LARGEST_VALUE = 16


def main() -> None:
    """Scans 8 x 8 with values 0 … 16 become 8-bit greyscale PNGs in one folder a digit."""
    digits = load_digits()
    scaled = np.rint(digits.images * 255 / LARGEST_VALUE).astype(np.uint8)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(TARGET, "w") as archive:
        for index in np.lexsort((np.arange(len(scaled)), digits.target)):
            png = io.BytesIO()
            Image.fromarray(scaled[index]).save(png, format="PNG", optimize=True)
            # The name keeps the scan's number in the source; ZipInfo's own date is 1980, so bytes never change.
            entry = zipfile.ZipInfo(f"{digits.target[index]}/{index:04d}.png")
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, png.getvalue())
    print(f"{TARGET}: {len(scaled)} images, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
