"""The error tree: whose problem it is, by type, with a stable code and its facts.

No HTTP statuses here: ``slipway/errors.py`` maps codes to them. An error travels from a node to
the platform as ``Failure`` (``workers.messages``), so it must be rebuilt from code, message, facts.
"""

from __future__ import annotations

from typing import ClassVar


class SlipwayError(Exception):
    """Base of every error with a code. ``str(error)`` is one sentence: what, where, how to fix."""

    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **facts: str | int | None) -> None:
        super().__init__(message)
        self.message = message
        self.facts: dict[str, str | int | None] = facts


class UserError(SlipwayError):
    """The caller asked for something that cannot be; asking differently helps."""

    code = "BAD_REQUEST"


class NodeError(SlipwayError):
    """The node cannot do it now (disk, kernel, runtime); the operator must act."""

    code = "NODE_ERROR"


class InvalidDigest(UserError):
    code = "DIGEST_INVALID"


class DigestMismatch(UserError):
    code = "DIGEST_MISMATCH"


class InvalidReference(UserError):
    code = "REFERENCE_INVALID"


class InvalidManifest(UserError):
    code = "MANIFEST_INVALID"


class InvalidArchive(UserError):
    """The bytes are no archive we know, or they are broken, or they try to break out."""

    code = "ARCHIVE_INVALID"


class ContextInvalid(UserError):
    """A build context's manifest, or contents sent for it, are not what they must be."""

    code = "CONTEXT_INVALID"


class ContextIncomplete(UserError):
    """Contents of a build context are missing, or were damaged on the disk: it is to be proposed again."""

    code = "CONTEXT_INCOMPLETE"


class NoSuchBlob(UserError):
    code = "BLOB_UNKNOWN"


class NoSuchLog(UserError):
    """Nothing was written yet, or it is no longer kept."""

    code = "LOG_UNKNOWN"


class NoSuchImage(UserError):
    code = "IMAGE_UNKNOWN"


class LayerNotKept(UserError):
    """The node has the layer's files, but not what gives its archive back."""

    code = "LAYER_NOT_KEPT"


class NoSuchContainer(UserError):
    code = "CONTAINER_UNKNOWN"


class NotRunning(UserError):
    code = "CONTAINER_NOT_RUNNING"


class InvalidSpec(UserError):
    """A container request with a value that cannot work (environment too large, bad user, …)."""

    code = "SPEC_INVALID"


class InvalidDockerfile(UserError):
    """A Dockerfile that says what cannot be; see ``workers.engine.dockerfile.errors`` for its facts."""

    code = "DOCKERFILE_INVALID"


class DockerfileTooLarge(InvalidDockerfile):
    """More text, instructions or expanded text than a Dockerfile may have."""

    code = "DOCKERFILE_TOO_LARGE"


class NoSuchStage(InvalidDockerfile):
    code = "STAGE_UNKNOWN"


class StageCycle(InvalidDockerfile):
    """Stages that need one another."""

    code = "STAGE_CYCLE"


class BuildFailed(UserError):
    """A build cannot go on: what its step asks for cannot be. Facts: file, line, step."""

    code = "BUILD_FAILED"


class DockerfileMissing(BuildFailed):
    """The context has none. Facts, where something is known to fit: proposal (a text), title."""

    code = "DOCKERFILE_MISSING"


class StepFailed(BuildFailed):
    """A RUN ended with another exit code than 0."""

    code = "BUILD_STEP_FAILED"


class BuildExceeded(BuildFailed):
    """A limit was reached: memory, time, size."""

    code = "BUILD_LIMIT_EXCEEDED"


class InvalidContext(BuildFailed):
    """The build context is damaged, hostile or too large."""

    code = "BUILD_CONTEXT_INVALID"


class BuildUnsupported(BuildFailed):
    """Something builds here do not do, refused by its name."""

    code = "BUILD_UNSUPPORTED"


class FetchFailed(BuildFailed):
    """A URL or a git repository that the build needs cannot be had."""

    code = "BUILD_FETCH_FAILED"


class CommandNotFound(UserError):
    """Exit code 127, as a shell says it."""

    code = "COMMAND_NOT_FOUND"


class CommandNotExecutable(UserError):
    """Exit code 126, as a shell says it."""

    code = "COMMAND_NOT_EXECUTABLE"


class NoSpace(NodeError):
    code = "NO_SPACE"


class ProjectInUse(NodeError):
    """Containers of a project that is to be dropped are still on the node."""

    code = "PROJECT_IN_USE"


class NoAddress(NodeError):
    code = "NO_ADDRESS"


class NetworkFailed(NodeError):
    """The kernel refused a bridge, a veth, an address or the packet rules."""

    code = "NETWORK_FAILED"


class RuntimeFailed(NodeError):
    code = "RUNTIME_FAILED"


class KernelTooOld(NodeError):
    code = "KERNEL_TOO_OLD"


class RegistryError(SlipwayError):
    """Another registry answered with what cannot be used."""

    code = "REGISTRY_ERROR"


class RegistryUnreachable(RegistryError):
    """It does not answer, breaks off again and again, or says that it is out of order."""

    code = "REGISTRY_UNREACHABLE"


class RegistryLimited(RegistryError):
    """It gives nothing more for a while."""

    code = "REGISTRY_LIMITED"


class RegistryNotAllowed(UserError):
    """The administrators do not let images come from or go to that registry."""

    code = "REGISTRY_NOT_ALLOWED"


class RegistryDenied(UserError):
    """It wants (other) credentials, or does not let these do that."""

    code = "REGISTRY_DENIED"


class NoSuchManifest(UserError):
    code = "MANIFEST_UNKNOWN"


class AddressRefused(UserError):
    """A fetch would lead into a network that strangers must not reach through us."""

    code = "ADDRESS_REFUSED"


class BadCommand(SlipwayError):
    """A command that is not ours: wrong node, wrong signature, expired, unknown kind."""

    code = "COMMAND_REJECTED"
