"""REST: personal tokens and robots; what a token may do and which there are."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts import queries, services
from slipway.accounts.models import TokenScope
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer


class TokenOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The beginning of the token after `slp_`; tells it from others.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=TokenScope.choices))
    project = serializers.CharField(
        source="project.path", default=None, allow_null=True, help_text="team/project, if bound to one."
    )
    robot = serializers.BooleanField(source="is_robot", help_text="Owned by the project, not by a user.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")
    revoked_at = serializers.DateTimeField(allow_null=True)


class IssuedTokenOut(TokenOut):
    token = serializers.CharField(help_text="The token itself: shown now and never again.")


class IntrospectIn(StrictSerializer):
    token = serializers.CharField(
        max_length=200,
        required=False,
        allow_null=True,
        default=None,
        help_text="Default: that of the request.",
    )


class IntrospectionOut(serializers.Serializer):
    """As in RFC 7662."""

    active = serializers.BooleanField()
    scope = serializers.CharField(required=False)
    username = serializers.CharField(required=False)
    token_type = serializers.CharField(required=False)
    sub = serializers.CharField(required=False)
    exp = serializers.IntegerField(required=False, help_text="Absent when it never expires.")
    iat = serializers.IntegerField(required=False)
    project = serializers.CharField(required=False, help_text="team/project, if bound to one.")
    robot = serializers.BooleanField(required=False)


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
    robot = serializers.BooleanField(
        default=False, help_text="Owned by the project: it stays when you leave. Takes a maintainer."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


TOKEN_PAGE = page_of(TokenOut)


class ProjectTokens(ApiView):
    @extend_schema(
        operation_id="list_project_tokens",
        responses=TOKEN_PAGE,
        parameters=[PageQuery],
        summary="Robots of a project, and tokens bound to it",
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        found = queries.list_project_tokens(self.actor, get_project_by_path(self.actor, team, project))
        return self.page(self.query(PageQuery), found, TokenOut)


class Introspect(ApiView):
    @extend_schema(
        operation_id="introspect_token",
        request=IntrospectIn,
        responses=IntrospectionOut,
        summary="What the request's token, or another of mine, may do (as in RFC 7662)",
    )
    def post(self, request: Request) -> Response:
        return Response(services.introspect(self.actor, self.body(IntrospectIn)["token"]))


class Tokens(ApiView):
    @extend_schema(
        operation_id="list_tokens",
        responses=TOKEN_PAGE,
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
            self.actor,
            asked["name"],
            scopes=asked["scopes"],
            project=project,
            expires_at=asked["expires_at"],
            robot=asked["robot"],
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
