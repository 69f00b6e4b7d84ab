"""Who may pull and push: the token flow, names and passwords, and what strangers see of it."""

from __future__ import annotations

import itertools
import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import urlencode

import pytest
from allauth.mfa.models import Authenticator

from slipway.accounts.actors import Actor
from slipway.accounts.models import Membership, ProjectMembership, Role, Token, User
from slipway.accounts.services import issue_token
from slipway.audit.models import Entry
from slipway.projects.models import Project
from slipway.registry.admissions import SECONDS, Admissions
from slipway.registry.application import Registry
from slipway.repositories import tokens
from slipway.repositories.models import Repository, Visibility
from tests.factories import make_actor, make_project, make_user
from tests.registry_client import RegistryClient, Reply, digest_of, image_manifest, in_this_thread

DATA = b"layer"


def show(path: str, visibility: Visibility) -> None:
    Repository.objects.filter(path=path).update(visibility=visibility)


def claims(token: str) -> dict[str, list[str]]:
    """What the token says: path → actions."""
    body = tokens.verify(token, "access")
    return {path: sorted(actions) for path, actions in body.grants.items()}


def form(client: RegistryClient, **fields: str) -> Reply:
    return client.call("POST", "/auth/token", urlencode(fields).encode())


def told(reply: Reply, name: str) -> tuple[int, dict[str, str], str]:
    """All there is to be learnt but for the request's id and the ``name`` that was asked for."""
    ignored = ("x-request-id", "content-length")
    headers = {key: text.replace(name, "…") for key, text in reply.headers.items() if key not in ignored}
    return reply.status, headers, reply.body.decode().replace(name, "…")


# --------------------------------------------------------------------------- the flow


def test_the_flow_as_docker_does_it(client: RegistryClient, anonymous: RegistryClient, path: str) -> None:
    ping = anonymous.call("GET", "/v2/")
    assert (ping.status, ping.code) == (401, "UNAUTHORIZED")
    assert (
        ping.headers["www-authenticate"] == 'Bearer realm="http://testserver/auth/token",service="testserver"'
    )
    refused = anonymous.call("POST", f"/v2/{path}/blobs/uploads/")
    assert refused.status == 401
    assert f'scope="repository:{path}:pull,push"' in refused.headers["www-authenticate"]
    answer = client.call(
        "GET", f"/auth/token?service=testserver&scope=repository:{path}:pull,push&account=dora"
    )
    assert (answer.status, answer.json["expires_in"]) == (200, 300)
    assert answer.json["token"] == answer.json["access_token"]
    assert answer.headers["cache-control"] == "no-store"
    bearer = RegistryClient(client.registry, bearer=answer.json["token"])
    assert bearer.call("GET", "/v2/").status == 200
    bearer.push_image(path, "v1", DATA)
    assert bearer.call("GET", f"/v2/{path}/manifests/v1").status == 200
    assert Entry.objects.filter(action="manifest.push").get().actor.startswith("dora (slp_")


def test_several_scopes_in_one_token(client: RegistryClient, path: str, project: Project) -> None:
    other = f"{project.path}/other"
    query = f"scope=repository:{path}:pull,push&scope=repository:{other}:pull%20repository:else/where/x:pull"
    token = client.call("GET", f"/auth/token?{query}").json["token"]
    assert claims(token) == {path: ["pull", "push"], other: ["pull"]}


def test_a_token_opens_what_it_names_and_asks_for_another_for_the_rest(
    client: RegistryClient, path: str, project: Project
) -> None:
    client.push_image(path, "v1", DATA)
    client.push_image(f"{project.path}/other", "v1", DATA)
    bearer = client.sign_in(f"repository:{path}:pull")
    assert bearer.call("GET", f"/v2/{path}/manifests/v1").status == 200
    more = bearer.call("GET", f"/v2/{project.path}/other/manifests/v1")
    assert more.status == 401
    assert 'error="insufficient_scope"' in more.headers["www-authenticate"]
    pushed = bearer.call("POST", f"/v2/{path}/blobs/uploads/")
    assert pushed.status == 401
    assert f'scope="repository:{path}:pull,push"' in pushed.headers["www-authenticate"]


def test_oauth_with_a_password_and_a_refresh_token(client: RegistryClient, path: str) -> None:
    given = {"service": "testserver", "client_id": "test", "scope": f"repository:{path}:pull,push"}
    first = form(
        RegistryClient(client.registry),
        grant_type="password",
        username="dora",
        password=client.password,
        access_type="offline",
        **given,
    )
    assert first.json["scope"] == f"repository:{path}:pull,push"
    refresh = first.json["refresh_token"]
    again = form(RegistryClient(client.registry), grant_type="refresh_token", refresh_token=refresh, **given)
    assert claims(again.json["access_token"]) == {path: ["pull", "push"]}
    assert again.json["refresh_token"] == refresh
    Token.objects.get(name="laptop").delete()
    ended = form(RegistryClient(client.registry), grant_type="refresh_token", refresh_token=refresh, **given)
    assert (ended.status, ended.code) == (401, "UNAUTHORIZED")
    assert RegistryClient(client.registry, bearer=refresh).call("GET", "/v2/").status == 401


def test_name_and_password_do_directly_too(client: RegistryClient, path: str) -> None:
    assert client.call("GET", "/v2/").status == 200
    client.push_image(path, "v1", DATA)
    bearer = RegistryClient(client.registry, bearer=client.password)
    assert bearer.call("GET", f"/v2/{path}/manifests/v1").status == 200


@pytest.mark.parametrize("text", ["", "x", "!!!", "bm9jb2xvbg==", b64encode(b"dora:slp_x_y").decode()])
def test_wrong_credentials_are_told_so(anonymous: RegistryClient, text: str) -> None:
    for address in ("/v2/", "/auth/token"):
        reply = anonymous.call("GET", address, authorization=f"Basic {text}")
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED")


def test_forged_and_foreign_tokens_are_refused(client: RegistryClient, path: str) -> None:
    client.push_image(path, "v1", DATA)
    token = client.sign_in(f"repository:{path}:pull").bearer
    head, body, signature = token.split(".")
    wider = json.dumps({"k": "access", "exp": 1 << 40, "access": []}).encode()
    nothing = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    forged = (
        f"{head}.{urlsafe_b64encode(wider).rstrip(b'=').decode()}.{signature}",
        f"{nothing}.{body}.",
        f"{head}.{body}.",
        f"{head}.{body}",
        token[:-2] + "xx",
        token + "x" * 20_000,
        "x.y.z",
    )
    for each in forged:
        reply = RegistryClient(client.registry, bearer=each).call("GET", f"/v2/{path}/manifests/v1")
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED")


def test_an_expired_token_is_refused(path: str) -> None:
    token = tokens.sign(tokens.Claims("access", grants={path: frozenset({"pull"})}), 300, now=1000)
    assert tokens.verify(token, "access", now=1299).grants
    with pytest.raises(tokens.InvalidBearer):
        tokens.verify(token, "access", now=1300)


def test_tokens_survive_a_rotation_of_the_secret(client: RegistryClient, path: str, settings: object) -> None:
    token = client.sign_in(f"repository:{path}:pull").bearer
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]  # type: ignore[attr-defined]
    settings.SECRET_KEY = "another-secret" * 5  # type: ignore[attr-defined]
    assert tokens.verify(token, "access")
    settings.SECRET_KEY_FALLBACKS = []  # type: ignore[attr-defined]
    with pytest.raises(tokens.InvalidBearer):
        tokens.verify(token, "access")


# --------------------------------------------------------------------------- accounts' passwords


@pytest.fixture
def dora(client: RegistryClient) -> User:
    """With a password."""
    user = User.objects.get(username="dora")
    user.set_password("correct horse battery")
    user.save()
    return user


def test_an_accounts_password_is_enough_where_no_second_factor_is(
    dora: User, registry: Registry, path: str
) -> None:
    for name in ("dora",):
        client = RegistryClient(registry, name, "correct horse battery")
        assert client.call("GET", f"/auth/token?scope=repository:{path}:pull").status == 200
    wrong = RegistryClient(registry, "dora", "wrong").call("GET", "/auth/token")
    unknown = RegistryClient(registry, "nobody", "wrong").call("GET", "/auth/token")
    assert told(wrong, "dora") == told(unknown, "nobody")
    assert wrong.status == 401
    Authenticator.objects.create(user=dora, type=Authenticator.Type.TOTP, data={})
    refused = client.call("GET", "/auth/token")
    assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
    assert "token" in refused.json["errors"][0]["message"]


def test_a_changed_password_ends_refresh_tokens(dora: User, registry: Registry) -> None:
    client = RegistryClient(registry, "dora", "correct horse battery")
    refresh = client.call("GET", "/auth/token?offline_token=true").json["refresh_token"]
    fields = {"grant_type": "refresh_token", "refresh_token": refresh, "service": "x"}
    assert form(RegistryClient(registry), **fields).status == 200
    dora.set_password("another one entirely")
    dora.save()
    assert form(RegistryClient(registry), **fields).status == 401


def test_passwords_cannot_be_guessed_for_ever(dora: User, registry: Registry) -> None:
    guesses = [RegistryClient(registry, "dora", f"guess{n}").call("GET", "/auth/token") for n in range(6)]
    assert [reply.status for reply in guesses] == [401] * 5 + [429]
    right = RegistryClient(registry, "dora", "correct horse battery").call("GET", "/auth/token")
    assert (right.status, right.code) == (429, "TOOMANYREQUESTS")
    assert right.headers["retry-after"] == "300"


# --------------------------------------------------------------------------- visibility


def test_a_private_repository_is_nothing_to_others(
    client: RegistryClient, stranger: RegistryClient, anonymous: RegistryClient, path: str, project: Project
) -> None:
    digest = client.push_image(path, "v1", DATA)
    blob = digest_of(DATA)
    team, slug, name = path.split("/")
    unreal = [f"{team}/{slug}/xyz", f"{team}/unreal/{name}", f"unreal/{slug}/{name}"]
    doors = [
        ("GET", "manifests/v1"),
        ("HEAD", "manifests/v1"),
        ("GET", f"manifests/{digest}"),
        ("PUT", "manifests/v1"),
        ("DELETE", "manifests/v1"),
        ("GET", f"blobs/{blob}"),
        ("DELETE", f"blobs/{blob}"),
        ("GET", "tags/list"),
        ("GET", f"referrers/{digest}"),
        ("POST", "blobs/uploads/"),
        ("GET", "blobs/uploads/" + "0" * 32),
        ("PATCH", "blobs/uploads/" + "0" * 32),
        ("DELETE", "blobs/uploads/" + "0" * 32),
    ]
    bearer = stranger.sign_in(*(f"repository:{place}:pull,push" for place in (path, *unreal)))
    callers = {
        stranger: (404, "NAME_UNKNOWN"),
        bearer: (404, "NAME_UNKNOWN"),
        anonymous: (401, "UNAUTHORIZED"),
    }
    for (method, rest), (caller, expected) in itertools.product(doors, callers.items()):
        real = caller.call(method, f"/v2/{path}/{rest}")
        for place in unreal:
            other = caller.call(method, f"/v2/{place}/{rest}")
            assert told(real, path) == told(other, place), (method, rest, place)
        if rest.startswith("referrers") and caller is not anonymous:  # never not found, by the specification
            assert (real.status, real.json["manifests"]) == (200, [])
        else:
            assert real.status == expected[0]
            assert method == "HEAD" or real.code == expected[1]
    assert path not in stranger.call("GET", "/v2/_catalog").json["repositories"]


def test_anybody_pulls_what_is_public_and_nobody_pushes_there(
    client: RegistryClient, stranger: RegistryClient, anonymous: RegistryClient, path: str
) -> None:
    client.push_image(path, "v1", DATA)
    show(path, Visibility.PUBLIC)
    nobody = anonymous.sign_in(f"repository:{path}:pull,push")
    assert claims(nobody.bearer) == {path: ["pull"]}
    for caller in (anonymous, nobody, stranger, stranger.sign_in(f"repository:{path}:pull")):
        assert caller.call("GET", f"/v2/{path}/manifests/v1").status == 200
        assert caller.call("GET", f"/v2/{path}/blobs/{digest_of(DATA)}").body == DATA
    assert anonymous.call("PUT", f"/v2/{path}/manifests/v2").status == 401
    assert nobody.call("POST", f"/v2/{path}/blobs/uploads/").status == 401
    assert stranger.call("POST", f"/v2/{path}/blobs/uploads/").status == 403
    assert stranger.call("DELETE", f"/v2/{path}/manifests/v1").status == 403


def test_the_team_reads_what_is_the_teams(client: RegistryClient, path: str, project: Project) -> None:
    client.push_image(path, "v1", DATA)
    second = make_project(project.team, slug="second")
    guest = make_user("gus")
    ProjectMembership.objects.create(project=second, user=guest, role=Role.VIEWER)
    owner = make_actor(project.team, username="olga")
    texts = {
        "gus": issue_token(Actor(user=guest), "t", scopes=["read"])[1],
        "robot": issue_token(owner, "ci", scopes=["read"], project=second, robot=True)[1],
    }
    for name, text in texts.items():
        caller = RegistryClient(client.registry, name, text)
        show(path, Visibility.PRIVATE)
        assert caller.call("GET", f"/v2/{path}/manifests/v1").status == 404
        show(path, Visibility.TEAM)
        assert caller.call("GET", f"/v2/{path}/manifests/v1").status == 200
        assert caller.call("GET", "/v2/_catalog").json["repositories"] == [path]
        assert caller.call("POST", f"/v2/{path}/blobs/uploads/").status == 403


def test_robots_keep_to_their_project_and_to_what_they_may(
    client: RegistryClient, path: str, project: Project
) -> None:
    client.push_image(path, "v1", DATA)
    second = make_project(project.team, slug="second")
    owner = make_actor(project.team, username="olga")
    puller = RegistryClient(
        client.registry, "puller", issue_token(owner, "p", scopes=["read"], project=project, robot=True)[1]
    )
    pusher = RegistryClient(
        client.registry, "pusher", issue_token(owner, "q", scopes=["write"], project=project, robot=True)[1]
    )
    scopes = f"repository:{path}:pull,push", f"repository:{second.path}/x:pull,push"
    assert claims(puller.sign_in(*scopes).bearer) == {path: ["pull"]}
    assert claims(pusher.sign_in(*scopes).bearer) == {path: ["pull", "push"]}
    assert puller.call("GET", f"/v2/{path}/manifests/v1").status == 200
    denied = puller.call("POST", f"/v2/{path}/blobs/uploads/")
    assert (denied.status, denied.code) == (403, "DENIED")
    pusher.push_image(path, "v2", DATA)
    assert pusher.call("POST", f"/v2/{second.path}/x/blobs/uploads/").status == 404
    assert Entry.objects.filter(action="manifest.push").latest("seq").actor.startswith("robot q")


def test_a_viewer_pulls_and_does_not_push(registry: Registry, client: RegistryClient, path: str) -> None:
    client.push_image(path, "v1", DATA)
    team = Repository.objects.get().project.team
    vera = make_actor(team, Role.VIEWER, username="vera")
    viewer = RegistryClient(registry, "vera", issue_token(vera, "t", scopes=["admin"])[1])
    assert viewer.call("GET", f"/v2/{path}/manifests/v1").status == 200
    denied = viewer.call("POST", f"/v2/{path}/blobs/uploads/")
    assert (denied.status, denied.code) == (403, "DENIED")


def test_a_right_that_was_withdrawn_pushes_no_more(
    client: RegistryClient, registry: Registry, path: str
) -> None:
    now = [100.0]
    registry.desk.admissions = Admissions(in_this_thread, clock=lambda: now[0])
    bearer = client.sign_in(f"repository:{path}:pull,push")
    bearer.push_image(path, "v1", DATA)
    Membership.objects.filter(user__username="dora").update(role=Role.VIEWER)
    manifest = image_manifest(b"{}")
    assert bearer.call("PUT", f"/v2/{path}/manifests/v2", manifest).status == 403
    assert bearer.call("POST", f"/v2/{path}/blobs/uploads/").status == 202  # for a moment more
    now[0] += SECONDS
    assert bearer.call("POST", f"/v2/{path}/blobs/uploads/").status == 403
    Token.objects.get(name="laptop").delete()
    assert bearer.call("POST", f"/v2/{path}/blobs/uploads/").status == 401


def test_a_node_that_builds_pulls_whatever_its_project_may(
    client: RegistryClient, stranger: RegistryClient, registry: Registry, path: str, project: Project
) -> None:
    """However many repositories there are: what is asked for is looked at when it is asked for."""
    client.push_image(path, "v1", DATA)
    theirs = Project.objects.get(slug="mine").path + "/web"
    stranger.push_image(theirs, "v1", DATA)
    claims = tokens.Claims("access", is_node=True, home=project.hex)
    node = RegistryClient(registry, "node", tokens.sign(claims, 60))
    bearer = node.sign_in(f"repository:{path}:pull,push", f"repository:{theirs}:pull")
    assert bearer.call("GET", f"/v2/{path}/manifests/v1").status == 200
    assert bearer.call("POST", f"/v2/{path}/blobs/uploads/").status == 404
    assert bearer.call("GET", f"/v2/{theirs}/manifests/v1").status == 404


def test_a_node_does_its_errand_and_nothing_else(
    client: RegistryClient, registry: Registry, path: str, project: Project
) -> None:
    token = tokens.mint(project, "web", ["pull", "push"])
    for node in (RegistryClient(registry, bearer=token), RegistryClient(registry, "node", token)):
        node.push_image(path, "v1", DATA)
        assert node.call("GET", f"/v2/{path}/manifests/v1").status == 200
        assert node.call("GET", f"/v2/{project.path}/other/tags/list").status == 404
        assert node.call("POST", f"/v2/{project.path}/other/blobs/uploads/").status == 404
    assert Entry.objects.filter(action="manifest.push").latest("seq").actor == "node"
    mine = tokens.mint(project, "web", ["push"], for_actor=Actor(user=User.objects.get(username="dora")))
    RegistryClient(registry, bearer=mine).push_image(path, "v2", DATA)
    assert Entry.objects.filter(action="manifest.push").latest("seq").actor == "dora"
    exchanged = RegistryClient(registry, "node", token).sign_in(f"repository:{path}:pull")
    assert exchanged.call("GET", f"/v2/{path}/manifests/v1").status == 200


@pytest.mark.parametrize(
    "name", ["web", "web/api", "a/b/c", "acme/shop/.x", "Acme/shop/web", "a/b/" + "x" * 300]
)
def test_repositories_have_names_within_a_project(
    client: RegistryClient, name: str, project: Project
) -> None:
    reply = client.call("POST", f"/v2/{name}/blobs/uploads/")
    assert reply.status in (400, 404)
    assert client.call("POST", f"/v2/{project.path}/deep/er_name.x/blobs/uploads/").status == 202


def test_an_unknown_host_is_not_served(anonymous: RegistryClient) -> None:
    reply = anonymous.call("GET", "/v2/", host="evil.example")
    assert (reply.status, "allow" in reply.headers) == (400, False)
    assert "SLIPWAY_HOSTS" in reply.json["errors"][0]["message"]


def test_a_client_that_keeps_its_first_token_can_push_with_it(
    client: RegistryClient, anonymous: RegistryClient, path: str
) -> None:
    """As oras for Python does: it takes the scope of the first challenge it is given."""
    challenge = anonymous.call("HEAD", f"/v2/{path}/blobs/{digest_of(DATA)}").headers["www-authenticate"]
    scope = challenge.partition('scope="')[2].partition('"')[0]
    client.sign_in(scope).push_image(path, "v1", DATA)
