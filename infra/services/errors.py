"""What can keep a local service from running.

GatewayError
└── ServiceError
    ├── ServiceNotInstalledError   a package of the ``services`` extra is missing
    ├── ArtifactError              something could not be fetched, unpacked or run
    ├── PortInUseError             the port that was asked for is taken
    └── ServiceStartError          it ended, or did not answer within its time
"""

from core.errors import GatewayError


class ServiceError(GatewayError):
    """A local service cannot run; ``detail`` carries the end of its log where there is one."""


class ServiceNotInstalledError(ServiceError):
    """A package of the ``services`` extra is missing."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(
            f"{what} needs the package {package}, which is not installed; `make services` installs it in a "
            "checkout, elsewhere pip install 'streamgateway[services]'"
        )


class ArtifactError(ServiceError):
    """A server's files could not be fetched, unpacked or run here."""

    retriable = True


class PortInUseError(ServiceError):
    """Another process listens on the port."""

    def __init__(self, service: str, port: int) -> None:
        super().__init__(f"{service}: port {port} is in use; stop what listens there, or choose another port")


class ServiceStartError(ServiceError):
    """A server ended by itself, or did not answer within its time."""
