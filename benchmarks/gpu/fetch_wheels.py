"""Fetches the few packages that a bare CUDA image lacks, for `gpu.sh --wheels`.

    python -m benchmarks.gpu.fetch_wheels wheels                          # CPython 3.12, CUDA 13.0
    python -m benchmarks.gpu.fetch_wheels wheels --python 3.11 --cuda 128

Needs a network and pip. Versions are those of constraints.txt. Of bitsandbytes only the library of
one CUDA version is kept, which makes a wheel of 4 MB of one of over 40.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
PACKAGES = (
    "transformers",
    "peft",
    "pydantic",
    "pydantic_core",
    "annotated-types",
    "typing-inspection",
    "typing_extensions",
    "platformdirs",
    "bitsandbytes",
)
"""Without what they need themselves, which is there where torch and accelerate are."""
GLIBC = (17, 24, 27, 28, 31, 34, 35)
"""Minor versions of glibc 2 that wheels are built for."""


def fetch(folder: Path, python: str, cuda: str) -> None:
    """Download the wheels to a folder, and repack that of bitsandbytes."""
    pinned = [line.split()[0] for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    wanted = [pin for pin in pinned if pin.partition("==")[0] in PACKAGES]
    if len(wanted) != len(PACKAGES):
        raise SystemExit(f"{CONSTRAINTS} must pin {', '.join(PACKAGES)}; it has {wanted}")
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
    target = [f"--python-version={python}", "--implementation=cp", *platforms]
    with tempfile.TemporaryDirectory() as downloads:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, *target, f"--dest={downloads}", *wanted], check=True)
        folder.mkdir(parents=True, exist_ok=True)
        for wheel in sorted(Path(downloads).glob("*.whl")):
            only = f"libbitsandbytes_cuda{cuda}.so" if wheel.name.startswith("bitsand") else None
            repack(wheel, folder / wheel.name, only)


def repack(wheel: Path, target: Path, only: str | None) -> None:
    """Copy a wheel; of its libraries for accelerators keep `only` this one, if it is given.

    `gpu.sh` unpacks wheels without an installer, so that their RECORD may name what is left out.
    """
    with ZipFile(wheel) as whole, ZipFile(target, "w", ZIP_DEFLATED) as kept:
        names = whole.namelist()
        if only and not any(name.endswith(f"/{only}") for name in names):
            raise SystemExit(f"{wheel.name} has no {only}")
        for name in names:
            library = name.endswith(".so") and not name.endswith("_cpu.so")
            if not only or not library or name.endswith(f"/{only}"):
                kept.writestr(name, whole.read(name))


def main() -> None:
    """Fetch, and list what is there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.fetch_wheels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version of the GPU machine's Python")
    parser.add_argument("--cuda", default="130", help="its CUDA, as in libbitsandbytes_cuda130.so")
    options = parser.parse_args()
    fetch(options.folder, options.python, options.cuda)
    wheels = sorted(options.folder.glob("*.whl"))
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:5.1f} MB  {wheel.name}")
    print(f"{sum(wheel.stat().st_size for wheel in wheels) / 1e6:5.1f} MB together")


if __name__ == "__main__":
    main()
