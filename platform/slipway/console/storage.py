"""Static files with a hash in their name: cached for ever, and a new release is seen at once."""

from __future__ import annotations

from django.contrib.staticfiles.storage import HashedFilesMixin
from whitenoise.storage import CompressedManifestStaticFilesStorage

_, _IMPORTS = HashedFilesMixin._js_module_import_aggregation_patterns  # type: ignore[attr-defined]  # not in the stubs


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """As WhiteNoise's, and the imports inside our own modules lead to hashed names as well.

    Only in ours: the scripts of other packages mention imports in comments, and are no modules.
    """

    support_js_module_import_aggregation = True
    _js_module_import_aggregation_patterns = ("js/*.js", _IMPORTS)
