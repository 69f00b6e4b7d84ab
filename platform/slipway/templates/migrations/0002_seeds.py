"""What an installation begins with. Administrators change and remove them as they like; they do not come back."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from slipway.templates.seeds import SEEDS


def plant(apps: Any, schema_editor: Any) -> None:
    template = apps.get_model("templates", "Template")
    for seed in SEEDS:
        template.objects.get_or_create(slug=seed["slug"], defaults=seed)


class Migration(migrations.Migration):
    dependencies = [("templates", "0001_initial")]
    operations = [migrations.RunPython(plant, migrations.RunPython.noop)]
