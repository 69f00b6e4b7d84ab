"""What tests commit is gone before the next one; what Django keeps about the models is still there."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Model

from slipway.audit.models import Entry
from slipway.jobs.models import Job
from slipway.projects.models import Project
from tests import emptying
from tests.factories import make_build, make_container, make_job, make_library, make_manifest, make_template


def rows(model: type[Model]) -> int:
    return model._default_manager.count()


@pytest.mark.django_db(transaction=True)
def test_nothing_committed_is_left_and_models_are_known() -> None:
    described = [rows(ContentType), rows(Permission)]
    assert all(described)
    project = make_library()
    make_container(project)
    make_build(project)
    make_job(project)
    make_manifest(project, "web", "latest")
    make_template()
    assert {Project._meta.db_table, Job._meta.db_table} <= set(emptying.with_rows(connection))
    emptying.empty(connection)
    assert emptying.with_rows(connection) == []
    assert [rows(Project), rows(Job), rows(Entry)] == [0, 0, 0]
    assert [rows(ContentType), rows(Permission)] == described


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_begins_with_an_empty_database(turn: str) -> None:
    if turn == "second":
        assert emptying.with_rows(connection) == []
    make_library()
    assert rows(Project) == 1
