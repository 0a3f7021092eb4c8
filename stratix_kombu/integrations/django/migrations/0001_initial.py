"""The permissions of the dashboard. No table is made."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Queues",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))
            ],
            options={
                "verbose_name": "queues and jobs",
                "verbose_name_plural": "queues and jobs",
                "managed": False,
                "default_permissions": ("view", "change"),
            },
        ),
    )
