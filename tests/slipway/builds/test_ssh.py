"""Private keys for ``--mount=type=ssh``: kept and dropped as secrets are, told apart by their names."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.builds import services
from slipway.builds.bodies import BuildBody, marks, request_of, source_of
from slipway.builds.errors import InvalidBuild, SecretsNeeded
from slipway.builds.models import Build
from slipway.builds.requests import BuildRequest
from slipway.errors import InvalidFields
from slipway.views import validated
from tests.roads import RecordingRoad
from tests.slipway.builds.acting import CANARY, begin, create, sent, succeed, world
from workers.messages import BuildOptions

KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n-----END OPENSSH PRIVATE KEY-----\n"
ASKED = {"dockerfile_text": "FROM busybox\n", "secrets": {"a": "b"}, "ssh": {"default": KEY}}


def request() -> BuildRequest:
    body = validated(BuildBody, ASKED)
    assert CANARY not in marks(body)
    return request_of(body, source_of(body))


@pytest.mark.django_db
def test_a_key_goes_to_the_node_and_stays_nowhere(road: RecordingRoad, django_db_blocker: Any) -> None:
    from django.db import connection

    who = world()
    build = create(road, who, request())
    [command] = sent(road)
    assert command.options.secrets == {"a": "b", "ssh:default": KEY}
    assert build.secret_ids == ["a", "ssh:default"]

    def everywhere() -> str:
        with connection.cursor() as cursor:
            found = []
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'SELECT * FROM "{table}"')
                found += [repr(row) for row in cursor.fetchall()]
        return "\n".join(found)

    assert build.hex in everywhere()
    assert CANARY not in everywhere()
    succeed(begin(build))
    ended = Build.objects.select_related("job", "project__team").get(pk=build.pk)
    assert ended.sealed == ""
    with pytest.raises(SecretsNeeded, match="ssh:default"):
        services.retry(who[0], ended, secrets={"a": "b"})
    again = services.retry(who[0], ended, secrets={"a": "b", "ssh:default": KEY})
    assert again.secret_ids == ["a", "ssh:default"]


@pytest.mark.parametrize(
    "secrets", [{"ssh:default": "no key"}, {"ssh:": KEY}, {"ssh:a b": KEY}, {"x:y": "z"}]
)
def test_what_is_no_key_or_no_id_is_refused(secrets: dict[str, str]) -> None:
    with pytest.raises(InvalidBuild):
        BuildRequest(options=BuildOptions(dockerfile_text="FROM a\n", secrets=secrets)).checked()


def test_keys_have_no_place_in_an_address() -> None:
    from slipway.builds.bodies import from_query

    with pytest.raises(InvalidFields):
        from_query({"ssh": ['{"default": "x"}']})
