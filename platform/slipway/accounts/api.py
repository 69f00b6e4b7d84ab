"""REST: who I am, teams and their members, tokens."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts import queries, services, sessions
from slipway.accounts.models import Role, TokenScope
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer


class UserOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    username = serializers.CharField()
    name = serializers.CharField()
    email = serializers.EmailField()
    is_administrator = serializers.BooleanField(source="is_staff")


class TeamOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    slug = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()


class MemberOut(serializers.Serializer):
    username = serializers.CharField(source="user.username")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(choices=Role.choices)
    since = serializers.DateTimeField(source="created_at")


class TokenOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The beginning of the token after `slp_`; tells it from others.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=TokenScope.choices))
    project = serializers.CharField(
        source="project.path", default=None, allow_null=True, help_text="team/project, if bound to one."
    )
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")
    revoked_at = serializers.DateTimeField(allow_null=True)


class IssuedTokenOut(TokenOut):
    token = serializers.CharField(help_text="The token itself: shown now and never again.")


class MeOut(serializers.Serializer):
    user = UserOut()
    token = TokenOut(allow_null=True, help_text="The token of this request, if it came with one.")
    roles = serializers.DictField(
        child=serializers.ChoiceField(choices=Role.choices), help_text="Team slug to role."
    )


class SessionOut(serializers.Serializer):
    id = serializers.CharField(source="pk")
    address = serializers.CharField(source="ip", help_text="Where the sign-in came from.")
    browser = serializers.CharField(source="user_agent")
    created_at = serializers.DateTimeField()


class TeamIn(StrictSerializer):
    slug = serializers.CharField(max_length=60, help_text="2 to 30 lower-case letters, digits, hyphens.")
    name = serializers.CharField(max_length=100, required=False, default="", allow_blank=True)


class TokenIn(StrictSerializer):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=TokenScope.choices),
        default=[TokenScope.READ.value],
        min_length=1,
    )
    project = serializers.RegexField(
        r"^[^/]+/[^/]+$",
        required=False,
        allow_null=True,
        default=None,
        help_text="team/project: the token opens this project and nothing else.",
        error_messages={"invalid": "A project is written team/project."},
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class Me(ApiView):
    @extend_schema(operation_id="get_me", responses=MeOut, summary="Who this request comes from")
    def get(self, request: Request) -> Response:
        teams = {team.pk: team.slug for team in queries.list_teams(self.actor)}
        roles = {teams[team]: role for team, role in self.actor.roles.items() if team in teams}
        me = {"user": self.actor.user, "token": self.actor.token, "roles": roles}
        return Response(MeOut(me).data)


class Sessions(ApiView):
    @extend_schema(
        operation_id="list_sessions",
        responses=page_of(SessionOut),
        parameters=[PageQuery],
        summary="The browsers I am signed in with, newest first",
    )
    def get(self, request: Request) -> Response:
        found = sessions.list_sessions(self.actor)
        return self.page(self.query(PageQuery), found, SessionOut, ["-created_at", "-id"])


class SessionDetail(ApiView):
    @extend_schema(
        operation_id="end_session",
        request=None,
        responses={204: OpenApiResponse(description="That browser is signed out.")},
        summary="Sign a browser out",
    )
    def delete(self, request: Request, session: str) -> Response:
        sessions.end_session(self.actor, sessions.get_session(self.actor, session))
        return Response(status=204)


class Teams(ApiView):
    @extend_schema(
        operation_id="list_teams", responses=page_of(TeamOut), parameters=[PageQuery], summary="My teams"
    )
    def get(self, request: Request) -> Response:
        return self.page(self.query(PageQuery), queries.list_teams(self.actor), TeamOut, ["slug"])

    @extend_schema(
        operation_id="create_team",
        request=TeamIn,
        responses={201: TeamOut},
        summary="Found a team and own it",
    )
    def post(self, request: Request) -> Response:
        asked = self.body(TeamIn)
        team = services.create_team(self.actor, asked["slug"], asked["name"])
        return Response(TeamOut(team).data, status=201, headers={"Location": f"/api/v1/teams/{team.slug}"})


class TeamDetail(ApiView):
    @extend_schema(operation_id="get_team", responses=TeamOut, summary="One team")
    def get(self, request: Request, team: str) -> Response:
        return Response(TeamOut(queries.get_team(self.actor, team)).data)


class Members(ApiView):
    @extend_schema(
        operation_id="list_members",
        responses=page_of(MemberOut),
        parameters=[PageQuery],
        summary="The members of a team",
    )
    def get(self, request: Request, team: str) -> Response:
        found = queries.get_team(self.actor, team)
        return self.page(
            self.query(PageQuery), queries.list_members(self.actor, found), MemberOut, ["user__username"]
        )


class Tokens(ApiView):
    @extend_schema(
        operation_id="list_tokens",
        responses=page_of(TokenOut),
        parameters=[PageQuery],
        summary="My tokens, newest first",
    )
    def get(self, request: Request) -> Response:
        return self.page(self.query(PageQuery), queries.list_tokens(self.actor), TokenOut)

    @extend_schema(
        operation_id="issue_token", request=TokenIn, responses={201: IssuedTokenOut}, summary="Issue a token"
    )
    def post(self, request: Request) -> Response:
        asked = self.body(TokenIn)
        project: Any = None
        if asked["project"]:
            project = get_project_by_path(self.actor, *asked["project"].split("/"))
        token, text = services.issue_token(
            self.actor, asked["name"], scopes=asked["scopes"], project=project, expires_at=asked["expires_at"]
        )
        answer = {**TokenOut(token).data, "token": text}
        return Response(answer, status=201, headers={"Location": f"/api/v1/tokens/{token.hex}"})


class TokenDetail(ApiView):
    @extend_schema(operation_id="get_token", responses=TokenOut, summary="One token")
    def get(self, request: Request, token: str) -> Response:
        return Response(TokenOut(queries.get_token(self.actor, token)).data)

    @extend_schema(
        operation_id="revoke_token",
        request=None,
        responses={204: OpenApiResponse(description="It opens nothing any more.")},
        summary="Revoke a token",
    )
    def delete(self, request: Request, token: str) -> Response:
        services.revoke_token(self.actor, queries.get_token(self.actor, token))
        return Response(status=204)
