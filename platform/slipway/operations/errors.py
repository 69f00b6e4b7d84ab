"""What an operator is told when an operation cannot be done."""

from __future__ import annotations

from workers.errors import UserError


class CannotBackUp(UserError):
    code = "CANNOT_BACK_UP"


class BackupInvalid(UserError):
    """Its bytes are not what its manifest says, or it is no backup."""

    code = "BACKUP_INVALID"


class CannotRestore(UserError):
    """The backup is whole; it does not fit this installation."""

    code = "CANNOT_RESTORE"


class CannotRotate(UserError):
    code = "CANNOT_ROTATE"


class CannotInstall(UserError):
    code = "CANNOT_INSTALL"


class FormatUnknown(UserError):
    code = "FORMAT_UNKNOWN"
