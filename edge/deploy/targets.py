"""The kinds of devices that wheels are collected for: `TARGETS`."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.markers import default_environment


@dataclass(frozen=True)
class Target:
    """A kind of device.

    Attributes:
        machine: "aarch64" or "x86_64".
        python: its Python's whole version: markers may ask for the third number.
        glibc: n of its glibc 2.n.
        system: whose Python and glibc these are.
    """

    machine: str
    python: str
    glibc: int
    system: str

    @property
    def version(self) -> str:
        """Such as "3.10"."""
        return ".".join(self.python.split(".")[:2])

    @property
    def abi(self) -> str:
        """Such as "cp310"."""
        return f"cp{self.version.replace('.', '')}"

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.machine}-{self.abi}"

    @property
    def pip_options(self) -> list[str]:
        """What makes pip choose for the target: every manylinux that its glibc runs, newest first."""
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 16, -1)]
        platforms.append(f"manylinux2014_{self.machine}")
        chosen = [f"--platform={platform}" for platform in platforms]
        return [
            *chosen,
            f"--python-version={self.version}",
            "--implementation=cp",
            f"--abi={self.abi}",
            "--only-binary=:all:",
        ]

    def markers(self, extra: str) -> dict[str, str]:
        """The environment that a dependency's marker is evaluated in."""
        python = {"extra": extra, "python_full_version": self.python, "python_version": self.version}
        linux = {
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "sys_platform": "linux",
        }
        return {name: str(value) for name, value in {**default_environment(), **linux, **python}.items()}


TARGETS = {
    target.name: target
    for target in (
        Target("aarch64", "3.10.12", 35, "JetPack 6 (Ubuntu 22.04)"),
        Target("aarch64", "3.12.3", 39, "JetPack 7 (Ubuntu 24.04)"),
        Target("x86_64", "3.11.2", 36, "Debian 12, Dockerfile.cpu"),
        Target("aarch64", "3.11.2", 36, "Debian 12"),
        Target("aarch64", "3.13.5", 41, "Debian 13"),
    )
}
DEFAULT = ("aarch64-cp310", "aarch64-cp312", "x86_64-cp311")
