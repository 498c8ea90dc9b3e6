"""A machine that systemd has booted, made of namespaces: a real PID 1, real units, and nothing of the machine outside.

It sees the machine's /usr; /run, /home, /opt and /var/lib are empty, and /etc may be written to without a trace.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).parent.parent
SYSTEMD = Path("/lib/systemd/systemd")
BOOTED_WITHIN_S = 20.0
DEADLINE_S = 60.0
PROGRAM = "/opt/shipwrightd/bin/shipwrightd"
USER, UID = "ada", 54_321

# Run as PID 1: prepares what systemd finds, then becomes it. The program gets an environment of its own in /opt,
# because the checkout may lie in a home, which services do not see.
BOOT = r"""
set -e
mount --make-rprivate /
mkdir "$SCRATCH/sys" "$SCRATCH/etc" "$SCRATCH/work"
mount -t cgroup2 cgroup2 "$SCRATCH/sys"
mount -t tmpfs tmpfs /sys/fs/cgroup
mount --move "$SCRATCH/sys" /sys/fs/cgroup
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$SCRATCH/etc,workdir=$SCRATCH/work" /etc
mount -t tmpfs -o mode=0755 tmpfs /opt
python=$BASE/bin/$PYTHON
case $BASE in /root/* | /home/* | /tmp/*)  # likewise its interpreter, with the library that it looks for where it was
    mkdir /opt/python
    mount --bind "$BASE" /opt/python
    python=/opt/python/bin/$PYTHON
    echo /opt/python/lib > /etc/ld.so.conf.d/python.conf
    ldconfig ;;
esac
mkdir -p /opt/shipwrightd/bin /opt/site /opt/checkout "/opt/shipwrightd/lib/$PYTHON/site-packages"
mount --bind "$SITE" /opt/site
mount --bind "$CHECKOUT" /opt/checkout
cd /opt/shipwrightd
ln -s "$python" bin/python
echo "home = ${python%/*}" > pyvenv.cfg
printf '%s\n' /opt/checkout /opt/site > "lib/$PYTHON/site-packages/all.pth"
printf '#!/opt/shipwrightd/bin/python\nfrom shipwrightd.__main__ import main\nmain()\n' > bin/shipwrightd
chmod 755 bin/shipwrightd
for folder in /run /home /var/lib; do mount -t tmpfs -o mode=0755 tmpfs "$folder"; done
mkdir -p /run/systemd/system /run/lock /run/units /run/nothing /etc/systemd/system
for target in basic sysinit shutdown multi-user default; do
    printf '[Unit]\nDefaultDependencies=no\n' > "/run/units/$target.target"
done
echo "$USER_NAME:x:$USER_ID:$USER_ID::/home/$USER_NAME:/bin/sh" >> /etc/passwd
echo "$USER_NAME:x:$USER_ID:" >> /etc/group
mkdir -p "/home/$USER_NAME" "/run/user/$USER_ID"
chown "$USER_ID:$USER_ID" "/home/$USER_NAME" "/run/user/$USER_ID"
chmod 700 "/home/$USER_NAME" "/run/user/$USER_ID"
export container=test SYSTEMD_UNIT_PATH=/run/units:/etc/systemd/system SYSTEMD_GENERATOR_PATH=/run/nothing
exec /lib/systemd/systemd --system --unit=basic.target --show-status=no
"""
NAMESPACES = ("--cgroup", "--mount", "--uts", "--ipc", "--net", "--pid")


class Machine:
    """One such machine; `call` runs a program in it."""

    def __init__(self, scratch: Path, cgroup: Path) -> None:
        self._scratch = scratch
        self._cgroup = cgroup
        self._outside: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        environment = {
            "PATH": os.environ["PATH"],
            "SCRATCH": str(self._scratch),
            "CHECKOUT": str(ROOT),
            "SITE": sysconfig.get_path("purelib"),
            "PYTHON": f"python{sys.version_info[0]}.{sys.version_info[1]}",
            "BASE": sys.base_prefix,
            "USER_NAME": USER,
            "USER_ID": str(UID),
        }
        inside = shlex.join(
            ["exec", "unshare", *NAMESPACES, "--fork", "--mount-proc", "--kill-child", "sh", "-c", BOOT]
        )
        enter = f"echo $$ > {shlex.quote(str(self._cgroup / 'cgroup.procs'))}; {inside}"
        with (self._scratch / "console").open("wb") as console:
            self._outside = subprocess.Popen(
                ["sh", "-c", enter], env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        deadline = time.monotonic() + BOOTED_WITHIN_S
        while not self._is_up():
            if self._outside.poll() is not None or time.monotonic() > deadline:
                said = (self._scratch / "console").read_text()
                self.__exit__()
                pytest.skip(f"systemd does not boot here: {said.strip() or 'no word'}")
            time.sleep(0.05)
        return self

    def _is_up(self) -> bool:
        assert self._outside is not None
        children = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children")
        with contextlib.suppress(OSError, IndexError):
            self._init = int(children.read_text().split()[0])
            return self.call("systemctl", "is-system-running").stdout.strip() == "running"
        return False

    def __exit__(self, *_: object) -> None:
        assert self._outside is not None
        with contextlib.suppress(OSError):
            (self._cgroup / "cgroup.kill").write_text("1")
        self._outside.kill()
        self._outside.wait()
        for _attempt in range(100):  # the kernel lets go of killed processes in its own time
            with contextlib.suppress(OSError):
                for folder in sorted(self._cgroup.rglob("*/"), reverse=True):
                    folder.rmdir()
                self._cgroup.rmdir()
                return
            time.sleep(0.05)

    def call(self, *command: object, user: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside, as root or as a user, and return what it said."""
        change = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if user else ()
        home = f"/home/{user}" if user else "/root"
        known = {"PATH": os.environ["PATH"], "HOME": home, "USER": user or "root", **environment}
        enter = ("nsenter", f"--target={self._init}", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")
        return subprocess.run(
            [*enter, *change, *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            cwd="/",
            env=known,
        )

    def shell(self, script: str, user: str | None = None) -> str:
        """Run a script inside and return what it printed; it must end well."""
        done = self.call("sh", "-ec", script, user=user)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def machine(scratch: Path) -> Machine:
    """Return a machine to be booted, or skip the test where that cannot be."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or not shutil.which("nsenter"):
        pytest.skip("a machine to boot takes root, systemd and nsenter")
    scratch.chmod(0o755)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(scratch)], capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    return Machine(scratch, own_cgroup())


def own_cgroup() -> Path:
    """Return a new control group, or skip the test where none can be made."""
    for mount in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = mount.split()
        if kind != "cgroup2":
            continue
        made = Path(where) / f"shipwrightd-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            made.mkdir()
            return made
    pytest.skip("no control group can be made here")


def unmount(scratch: Path) -> None:
    """Give the scratch space back."""
    subprocess.run(["umount", "--lazy", str(scratch)], check=False)
