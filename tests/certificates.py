"""Certificates of an authority made for the test."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str, subject: str, *, authority: Path | None = None) -> Path:
    """Make a key and a certificate for ``subject``, signed by ``authority`` or by itself; return its path."""
    key, made = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-keyout", key, "-out", made]
    if authority is not None:
        command += ["-CA", authority, "-CAkey", authority.with_suffix(".key"), "-addext", f"subjectAltName={subject}"]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
    return made
