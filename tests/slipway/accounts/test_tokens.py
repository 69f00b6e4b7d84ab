from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from slipway.accounts import queries, services
from slipway.accounts.actors import Actor
from slipway.accounts.errors import (
    ExpiredToken,
    InvalidRequest,
    InvalidToken,
    NotAllowed,
    NotFound,
    RevokedToken,
)
from slipway.accounts.models import Token
from slipway.accounts.policy import Action, can
from slipway.audit.models import Entry
from tests.factories import make_actor, make_project, make_team

pytestmark = pytest.mark.django_db


def test_a_token_opens_what_its_user_may() -> None:
    project = make_project()
    actor = make_actor(project.team)
    _, text = services.issue_token(actor, "laptop", scopes=["write"])
    opened = services.authenticate_token(text)
    assert opened.user == actor.user
    assert can(opened, Action.WRITE, project)
    assert not can(opened, Action.MANAGE, project)


def test_only_a_hash_is_kept() -> None:
    token, text = services.issue_token(make_actor(), "laptop")
    secret = text.split("_")[2][:32]
    row = Token.objects.filter(pk=token.pk).values()[0]
    assert not any(secret in str(value) for value in row.values())
    assert len(row["digest"]) == 64


def test_an_expired_token_says_so() -> None:
    token, text = services.issue_token(make_actor(), "old", expires_at=timezone.now() + timedelta(hours=1))
    with pytest.raises(ExpiredToken, match="expired at"):
        services.authenticate_token(text, now=timezone.now() + timedelta(hours=2))
    assert services.authenticate_token(text).token == token


def test_a_revoked_token_opens_nothing() -> None:
    actor = make_actor()
    token, text = services.issue_token(actor, "lost")
    services.revoke_token(actor, token)
    services.revoke_token(actor, token)
    with pytest.raises(RevokedToken):
        services.authenticate_token(text)
    assert Entry.objects.filter(action="token.revoke").count() == 1


def test_a_wrong_secret_behind_a_known_prefix_opens_nothing() -> None:
    from slipway.accounts.credentials import Credential

    token, _ = services.issue_token(make_actor(), "laptop")
    forged = Credential(token.prefix, Credential.generate().secret)
    with pytest.raises(InvalidToken, match="unknown"):
        services.authenticate_token(str(forged))


def test_a_token_of_an_inactive_user_opens_nothing() -> None:
    actor = make_actor()
    _, text = services.issue_token(actor, "laptop")
    assert actor.user is not None
    actor.user.is_active = False
    actor.user.save()
    with pytest.raises(InvalidToken):
        services.authenticate_token(text)


def test_last_use_is_noted_at_most_once_a_minute(django_assert_num_queries) -> None:
    _, text = services.issue_token(make_actor(), "laptop")
    now = timezone.now()
    services.authenticate_token(text, now=now)
    with django_assert_num_queries(1):
        services.authenticate_token(text, now=now + timedelta(seconds=30))
    services.authenticate_token(text, now=now + timedelta(seconds=61))
    assert Token.objects.get().last_used_at == now + timedelta(seconds=61)


def test_a_token_of_one_project_opens_no_other() -> None:
    team = make_team()
    mine, other = make_project(team), make_project(team)
    _, text = services.issue_token(make_actor(team), "ci", scopes=["write"], project=mine)
    opened = services.authenticate_token(text)
    assert can(opened, Action.WRITE, mine)
    assert not can(opened, Action.READ, other)
    assert not can(opened, Action.READ, team)


def test_a_token_of_a_foreign_project_is_not_issued() -> None:
    with pytest.raises(NotFound):
        services.issue_token(make_actor(), "ci", project=make_project())


def test_a_token_cannot_make_a_wider_one() -> None:
    project = make_project()
    actor = make_actor(project.team)
    narrow, _ = services.issue_token(actor, "narrow", scopes=["write"])
    bound, _ = services.issue_token(actor, "bound", scopes=["admin"], project=project)
    with pytest.raises(NotAllowed):
        services.issue_token(Actor(user=actor.user, token=narrow), "wider", scopes=["read"])
    with pytest.raises(NotAllowed):
        services.issue_token(Actor(user=actor.user, token=bound), "wider", scopes=["read"])


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "root"]])
def test_unknown_scopes_are_refused(scopes: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        services.issue_token(make_actor(), "laptop", scopes=scopes)


def test_tokens_of_others_are_not_seen_nor_revoked() -> None:
    token, _ = services.issue_token(make_actor(), "laptop")
    other = make_actor()
    assert not queries.list_tokens(other).exists()
    with pytest.raises(NotFound):
        queries.get_token(other, token.hex)
    with pytest.raises(NotFound):
        services.revoke_token(other, token)


def test_a_token_makes_none_that_outlives_it() -> None:
    actor, end = make_actor(), timezone.now() + timedelta(hours=1)
    mine, _ = services.issue_token(actor, "mine", scopes=["admin"], expires_at=end)
    by_token = Actor(user=actor.user, token=mine)
    assert services.issue_token(by_token, "same")[0].expires_at == end
    assert (
        services.issue_token(by_token, "shorter", expires_at=end - timedelta(minutes=1))[0].expires_at < end
    )
    with pytest.raises(NotAllowed, match="outlives"):
        services.issue_token(by_token, "longer", expires_at=end + timedelta(seconds=1))
