"""Find network file systems in the mount table of Linux; other systems have none."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# Writes from other machines cause no events here.
NETWORK_TYPES = frozenset(
    (
        *("9p", "afs", "ceph", "cifs", "coda", "drvfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs"),
        *("fuse.ceph", "fuse.davfs2", "fuse.glusterfs", "fuse.grpcfuse", "fuse.gvfsd-fuse", "fuse.osxfs"),
        *("fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs"),
    )
)


def network_type(mountinfo: str, folder: str) -> str:
    """Return the type of the network file system that holds `folder`, or '' for a local one."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:  # noqa: PLR2004 - the mount point is the fifth field
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])  # the kernel escapes blanks
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two at one place the later one covers the first
            best, kind = point, after.split()[0]
    return kind if kind in NETWORK_TYPES else ""


def read_mounts() -> str:
    """Return the table of mounts, empty where the system has none."""
    try:
        return MOUNTS.read_text(errors="surrogateescape")
    except OSError:  # no Linux
        return ""
