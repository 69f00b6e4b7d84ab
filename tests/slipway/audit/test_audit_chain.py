"""The audit log: complete, in order, tamper-evident, and free of secrets."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from slipway.accounts.actors import Actor
from slipway.accounts.services import issue_token
from slipway.audit import redaction
from slipway.audit.models import ChainHead, Entry
from slipway.audit.services import record
from slipway.audit.verification import verify
from tests.factories import make_actor, make_project, make_team

pytestmark = pytest.mark.django_db
CANARY = "canary-7f3a9c"


def written(count: int) -> list[Entry]:
    team = make_team()
    actor = make_actor(team)
    return [record(actor, "thing.do", team, number=number, share=0.1 * number) for number in range(count)]


def test_each_entry_continues_the_one_before() -> None:
    entries = written(5)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.previous for entry in entries[1:]] == [entry.digest for entry in entries[:-1]]
    verdict = verify()
    assert (verdict.entries, verdict.holds) == (5, True)
    assert verdict.head == f"5:{entries[-1].digest}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"actor": "somebody else"}, "not what was written"),
        ({"detail": {"number": 7}}, "not what was written"),
        ({"after": {"role": "viewer"}}, "not what was written"),
        ({"origin": "203.0.113.9"}, "not what was written"),
        ({"digest": "0" * 64}, "not what was written"),
    ],
)
def test_a_changed_entry_is_found(change: dict[str, Any], said: str) -> None:
    written(3)
    Entry.objects.filter(seq=2).update(**change)
    faults = verify().faults
    assert faults[0].seq == 2
    assert said in faults[0].text


def test_a_missing_entry_is_found_wherever_it_was() -> None:
    written(5)
    Entry.objects.filter(seq=3).delete()
    assert "1 missing before it" in verify().faults[0].text
    Entry.objects.filter(seq__gt=2).delete()
    assert "ends with entry 2" in verify().faults[0].text


def test_a_log_rewritten_whole_does_not_hold_the_head_noted_before() -> None:
    head = f"3:{written(3)[-1].digest}"
    assert verify(head).holds
    Entry.objects.all().delete()
    ChainHead.objects.all().delete()
    written(3)
    assert verify().holds
    assert not verify(head).holds


def test_an_entry_of_a_rolled_back_change_does_not_exist() -> None:
    team = make_team()
    with transaction.atomic():
        record(make_actor(team), "thing.do", team)
        transaction.set_rollback(True)
    written(1)
    assert verify().entries == 1


def test_the_deletion_of_an_account_breaks_nothing() -> None:
    team = make_team()
    actor = make_actor(team)
    record(actor, "thing.do", team)
    assert actor.user is not None
    actor.user.delete()
    assert verify().holds
    assert Entry.objects.get().actor == actor.label


def test_the_command_says_what_it_found() -> None:
    written(2)
    out, err = io.StringIO(), io.StringIO()
    call_command("audit_verify", stdout=out)
    assert "2 entries hold together" in out.getvalue()
    Entry.objects.filter(seq=1).update(action="thing.undo")
    with pytest.raises(CommandError, match="tampered"):
        call_command("audit_verify", stderr=err)
    assert "entry 1: its content" in err.getvalue()


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_make_one_chain() -> None:
    team = make_team()
    actor = make_actor(team)
    failures: list[Exception] = []

    def write() -> None:
        try:
            for number in range(10):
                with transaction.atomic():
                    record(actor, "thing.do", team, number=number)
        except Exception as error:  # noqa: BLE001  # whatever it was, the test must hear of it
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    verdict = verify()
    assert (verdict.entries, verdict.faults) == (60, ())


# --------------------------------------------------------------------------- secrets


def test_tokens_and_values_under_secret_names_are_hidden() -> None:
    project = make_project()
    actor = make_actor(project.team)
    _, text = issue_token(actor, f"laptop {CANARY}")
    secret = text.split("_")[2]
    entry = record(
        actor,
        "thing.do",
        project,
        before={"password": CANARY + "1", "nested": {"api_token": CANARY + "2", "fine": "seen"}},
        after={"env": [f"KEY={CANARY}3"], "note": f"used {text} here"},
        header=[f"Bearer {text}"],
    )
    entry.refresh_from_db()
    row = Entry.objects.filter(pk=entry.pk).values_list("before", "after", "detail").get()
    assert CANARY not in str(row)
    assert secret not in str(list(Entry.objects.values_list()))
    assert row[0]["nested"]["fine"] == "seen"
    assert text.split("_")[1] in row[1]["note"]
    assert verify().holds


def test_text_no_database_takes_is_made_harmless() -> None:
    team = make_team()
    record(
        make_actor(team),
        "thing.do",
        team,
        note="a\0b\ud800c",
        deep={"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
    )
    assert "\0" not in str(Entry.objects.get().detail)
    assert verify().holds


def test_redaction_keeps_what_is_no_secret() -> None:
    plain = {"tokens_used": 1, "environment": "prod", "name": "slp_short", "flags": [True, None, 3]}
    assert redaction.clean(plain) == plain


def test_an_actor_without_an_address_is_recorded_all_the_same() -> None:
    team = make_team()
    actor = Actor(user=make_actor(team).user)
    assert record(actor, "thing.do", team).origin == ""
    assert connection.vendor in ("sqlite", "postgresql")
