"""Static files with a hash in their name: cached for ever, and a new release is seen at once."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """As WhiteNoise's, and the imports inside our modules lead to hashed names as well."""

    support_js_module_import_aggregation = True
