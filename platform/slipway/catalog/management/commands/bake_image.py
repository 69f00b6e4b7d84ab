"""``manage.py bake_image``: a base image from the distribution's packages, as a job."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from slipway.accounts.actors import OPERATOR
from slipway.catalog.models import Reference
from slipway.catalog.recipes import RECIPES, bake_image
from slipway.jobs.models import ACTIVE, Job, JobKind, JobState
from slipway.projects.queries import find_library
from workers.errors import SlipwayError

POLL_SECONDS = 0.2


class Command(BaseCommand):
    help = (
        "Make a base image in the library by a recipe. Does nothing when the library has it, unless --again."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("recipe", choices=RECIPES)
        parser.add_argument("--again", action="store_true", help="even when the library has it")
        parser.add_argument("--wait", action="store_true", help="show the progress, return when it has ended")
        parser.add_argument("--timeout", type=float, default=900.0, help="seconds to wait")

    def handle(self, *args: Any, **options: Any) -> None:
        recipe = options["recipe"]
        job = None if options["again"] else _active_job(recipe)
        if job is None and not options["again"] and _library_has(recipe):
            self.stdout.write(f"The library has {recipe}:latest.")
            return
        try:
            job = job or bake_image(OPERATOR, recipe)
        except SlipwayError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"Job {job.hex}: make {job.subject}")
        if options["wait"]:
            self._wait(job, options["timeout"])

    def _wait(self, job: Job, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        shown = ""
        while job.is_active:
            if time.monotonic() > deadline:
                raise CommandError(f"Job {job.hex} is still {job.state} after {timeout:.0f} s; it goes on.")
            time.sleep(POLL_SECONDS)
            job.refresh_from_db()
            if job.detail and job.detail != shown:
                shown = job.detail
                self.stdout.write(f"  {shown}")
        if job.state != JobState.SUCCEEDED:
            raise CommandError(
                f"Job {job.hex} {job.state}: {(job.cause or {}).get('message', 'no cause known')}"
            )
        self.stdout.write(f"{job.subject} is in the library.")


def _active_job(recipe: str) -> Job | None:
    library = find_library()
    subject = f"{recipe}:latest"
    jobs = Job.objects.filter(project=library, kind=JobKind.BAKE_IMAGE, subject=subject)
    return jobs.filter(state__in=ACTIVE).first()


def _library_has(recipe: str) -> bool:
    return Reference.objects.filter(project__library=True, name=recipe, tag="latest").exists()
